package store

import "strings"

// StatementsOf lists the names of the statements in queries/<table>.sql.
func StatementsOf(table string) (names []string) {
	text, err := queryFiles.ReadFile("queries/" + table + ".sql")
	if err != nil {
		panic(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if name, ok := strings.CutPrefix(line, "-- name: "); ok {
			names = append(names, name)
		}
	}
	return names
}

// WriterStatements are those that a JobWriter prepares, with the types of their parameters.
func WriterStatements() map[string][]uint32 { return jobStatements }

// BatchStatement returns a named statement of batches as it is sent.
func BatchStatement(name string) string {
	return strings.ReplaceAll(Statement(name), "{batch}", q("BatchColumns"))
}
