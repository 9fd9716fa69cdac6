package engine

import (
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// GPU is a device of a worker's host that one job at a time can have.
type GPU struct {
	ID      string     `json:"id"`   // its PCI address; of a part of a device followed by /GPU-INSTANCE/COMPUTE-INSTANCE
	UUID    string     `json:"uuid"` // "" while the driver does not tell
	Name    string     `json:"name"`
	Job     *uuid.UUID `json:"job"`     // who has it; nil: it is free
	Problem string     `json:"problem"` // why no job gets it; "" when one can
}

// gpuTags begins the tags of jobs that need devices, which tell how many: a worker takes those that its host has enough devices for.
const gpuTags = "gpu:"

// GPUTag is the tag of jobs that need n devices.
func GPUTag(n int) string { return gpuTags + strconv.Itoa(n) }

// GPUsOfTag is how many devices the jobs of a tag need; false: it is no tag of that kind.
func GPUsOfTag(tag string) (int, bool) {
	rest, ok := strings.CutPrefix(tag, gpuTags)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 1 {
		return 0, true
	}
	return n, true
}
