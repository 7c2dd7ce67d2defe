"""Recurring tasks: rules that give slots, schedules an app declares, and where each one stands.

Everything here is pure. :mod:`xqueue_core.worker.scheduler` puts the tasks.
"""
