module autodj/bench/sink

go 1.21
