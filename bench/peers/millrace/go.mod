module github.com/millrace/millrace/bench/peers/millrace

go 1.26.0

replace (
	github.com/millrace/millrace => ../../..
	github.com/millrace/millrace/bench/peers/contract => ../contract
)

require (
	github.com/millrace/millrace v0.0.0
	github.com/millrace/millrace/bench/peers/contract v0.0.0
)

require github.com/google/uuid v1.6.0 // indirect
