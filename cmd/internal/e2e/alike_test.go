package e2e

import (
	"encoding/json"
	"testing"
)

// noTwoAlike runs the same source again and again in one slot: forks of one interpreter, or processes that were started alike. What is
// meant to be random must not repeat.
func noTwoAlike(t *testing.T, d *daemon) {
	for language, source := range map[string]string{
		"python3": `import os, random, secrets, ssl, tempfile, uuid
def main():
    return [random.random(), random.Random().random(), random.SystemRandom().random(), os.urandom(8).hex(), secrets.token_hex(8),
        str(uuid.uuid4()), str(uuid.uuid1()), tempfile.mktemp(), ssl.RAND_bytes(8).hex()]
`,
		"bun": `import { randomBytes } from "node:crypto";
export function main() {
  return [Math.random(), crypto.randomUUID(), randomBytes(8).toString("hex"), [...crypto.getRandomValues(new Uint8Array(8))].join()];
}
`,
		"bash": `printf '["%s","%s","%s"]' "$RANDOM$RANDOM$RANDOM" "$SRANDOM" "$(mktemp -u)" > result.json`,
	} {
		seen := map[string]int{}
		for run := range 4 {
			j := d.preview(language, source, "{}")
			var drawn []json.RawMessage
			if err := json.Unmarshal([]byte(result(j)), &drawn); err != nil || len(drawn) < 3 {
				t.Fatalf("%s: %s %s", language, result(j), failure(j))
			}
			for i, v := range drawn {
				if before, twice := seen[string(v)]; twice {
					t.Errorf("%s: run %d draws %s for number %d, as run %d did", language, run, v, i, before)
				}
				seen[string(v)] = run
			}
		}
	}
}
