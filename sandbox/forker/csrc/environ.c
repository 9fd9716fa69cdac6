// The environment of a job, without a copy of each variable: what the C library and programs that the job starts look into.
#define _GNU_SOURCE
#include "forker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// same says whether two entries are of one variable.
static int same(const char *a, const char *b) {
	size_t n = strcspn(a, "=");
	return !strncmp(a, b, n) && b[n] == '=';
}

// environ_take adds the entries of a block, name=value and a zero byte each, to environ, which points into block from then on.
int environ_take(char *block, size_t size) {
	size_t have = 0, more = 0;
	for (char **e = environ; e && *e; e++) have++;
	for (char *e = block; e < block + size; e += strlen(e) + 1) more++;
	char **all = malloc((have + more + 1) * sizeof *all), **end = all + have;
	if (!all) return -1;
	if (have) memcpy(all, environ, have * sizeof *all);
	for (char *e = block; e < block + size; e += strlen(e) + 1) {
		char **at = all;
		while (at < all + have && !same(e, *at)) at++;
		if (at < all + have)
			*at = e;
		else
			*end++ = e;
	}
	*end = NULL;
	environ = all;
	return 0;
}
