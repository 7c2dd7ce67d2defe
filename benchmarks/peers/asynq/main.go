// asynq: polls every 10 ms. The command line is that of counted.py.
package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/hibiken/asynq"
)

type figures struct {
	Count int64   `json:"count"`
	First int64   `json:"first_ns"`
	Last  int64   `json:"last_ns"`
	CPU   float64 `json:"cpu"`
}

// clock is CLOCK_MONOTONIC in nanoseconds, as Python's.
func clock() int64 {
	var now syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}

// used is the process's CPU in seconds, its own and the kernel's.
func used() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func report(count, first int64, cpu float64) {
	must(json.NewEncoder(os.Stdout).Encode(figures{count, first, clock(), used() - cpu}))
}

// submit has no bulk call: 100 goroutines submit one by one.
func submit(redis asynq.RedisConnOpt, count int64) {
	client := asynq.NewClient(redis)
	first, cpu := clock(), used()
	var taken atomic.Int64
	var submitters sync.WaitGroup
	for range 100 {
		submitters.Add(1)
		go func() {
			defer submitters.Done()
			for taken.Add(1) <= count {
				_, err := client.Enqueue(asynq.NewTask("noop", nil))
				must(err)
			}
		}()
	}
	submitters.Wait()
	report(count, first, cpu)
}

func work(redis asynq.RedisConnOpt, count int64) {
	var ran, first atomic.Int64
	var cpu float64
	noop := func(context.Context, *asynq.Task) error {
		number := ran.Add(1)
		if number == 1 {
			cpu = used()
			first.Store(clock())
		}
		if number == count {
			report(count, first.Load(), cpu)
			os.Exit(0)
		}
		return nil
	}
	server := asynq.NewServer(redis, asynq.Config{
		Concurrency:       100,
		TaskCheckInterval: 10 * time.Millisecond,
		LogLevel:          asynq.ErrorLevel,
	})
	must(server.Run(asynq.HandlerFunc(noop)))
}

func main() {
	redis, err := asynq.ParseRedisURI(os.Args[2])
	must(err)
	count, err := strconv.ParseInt(os.Args[3], 10, 64)
	must(err)
	if os.Args[1] == "submit" {
		submit(redis, count)
	} else {
		work(redis, count)
	}
}
