module peer

go 1.25

require github.com/hibiken/asynq v0.26.0
