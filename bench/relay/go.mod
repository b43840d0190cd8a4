module autodj/bench/relay

go 1.22
