package store

// Pinned are the settings of hot connections, for the tests of their plans.
var Pinned = pinned

// Statement returns a named statement as it is sent.
func Statement(name string) string { return withColumns(q(name)) }

// ListStatement returns the statement of a list of jobs.
func ListStatement(active, completed, specs bool) string {
	return list{active: active, completed: completed, specs: specs}.query()
}

// Migrations is how many there are.
func Migrations() int { return len(migrations) }

var (
	// WeekOf and PartitionName say where the rows of a moment are.
	WeekOf        = weekOf
	PartitionName = partitionName
	IDAt          = idAt
)
