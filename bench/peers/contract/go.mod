module github.com/millrace/millrace/bench/peers/contract

go 1.26.0
