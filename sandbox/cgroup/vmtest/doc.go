// Package vmtest runs the tests of control groups and of slots once more in a small emulated machine whose kernel has version 2 of
// control groups and nothing else, whatever the host has. It holds tests only.
//
// The machine is qemu with an emulated processor, a stock kernel and one archive as its memory disk, made of this package's own
// test binary (it is the machine's init), the binaries of the tests to be run, and the few programs of the host that those use.
// What the tests print comes over the serial line. `make test/cgroup2` gets qemu and the kernel and says where they are:
//
//	MILLRACE_TEST_VM           folder that holds vmlinuz; empty: the test is skipped
//	MILLRACE_TEST_VM_MISSING   why there is none, for the reason of the skip
package vmtest
