package example

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write orders.csv")

// TestOrders keeps orders.csv what this generator makes: 200 orders, with the mess that files from the world have.
func TestOrders(t *testing.T) {
	want := generate()
	if *update {
		if err := os.WriteFile("orders.csv", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if orders != want {
		t.Error("orders.csv is not what the generator makes; run go test ./cmd/internal/example -update")
	}
	if n := strings.Count(orders, "\n"); n != 201 {
		t.Errorf("%d lines, want a head and 200 orders", n)
	}
}

func generate() string {
	r := rand.New(rand.NewPCG(2026, 11))
	countries := []string{"Germany", "France", "Italy", "Spain", "Poland", "Netherlands", "portugal", "AUSTRIA"}
	people := []string{"ann", "ben", "carla", "dora", "emil", "freya", "gino", "hana", "ivo", "jana"}
	products := []struct {
		name  string
		price float64
	}{{"mill stone", 249.9}, {"water wheel", 1890}, {"sieve", 34.5}, {"flour sack", 4.25}, {"belt, leather", 79}, {"gear, oak", 126.4}}
	forms := []string{"2006-01-02", "2 Jan 2006", "January 2, 2006", "02.01.2006", "2006-01-02T15:04:05"}
	start := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

	var b strings.Builder
	b.WriteString("order,date,customer,country,product,quantity,price\n")
	for i := range 200 {
		p := products[r.IntN(len(products))]
		id := fmt.Sprintf("A-%04d", 1000+i)
		date := start.Add(time.Duration(i*31+r.IntN(30)) * time.Hour).Format(forms[r.IntN(len(forms))])
		mail := people[r.IntN(len(people))] + "@example.org"
		quantity := 1 + r.IntN(12)
		price := fmt.Sprintf("%.2f", p.price*(0.9+0.2*r.Float64()))
		if r.IntN(4) == 0 {
			price += " EUR"
		}
		switch i { // the mess
		case 17:
			quantity = 0
		case 58:
			id = "A-1057" // the order before, again
		case 99:
			mail = "phone: 030 123"
		case 123:
			date = "as soon as possible"
		case 160:
			quantity = -3
		case 181:
			date = "2062-08-30"
		}
		fmt.Fprintf(&b, "%s,%q,%s,%s,%q,%d,%s\n", id, date, mail, countries[r.IntN(len(countries))], p.name, quantity, price)
	}
	return b.String()
}
