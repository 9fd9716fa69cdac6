// Package forker starts jobs inside a slot. It is two halves of one protocol: the C program in csrc (a static binary,
// /millrace/forker, and the same code as the CPython extension _millrace_forker), which forks and confines, and Client, which
// asks it to and tells how each job ended. Whoever opens the container (sandbox/oci) only has to keep the contract below.
//
//	csrc/main.c, loop.c         PID 1 and PID 2 of a slot; python.c is the same loop inside a booted interpreter
//	csrc/confine.c, launch.c    what a cloned child does to itself, and how it then becomes the job; hold.c lets it wait in between
//	csrc/filter.c, landlock.c   the last two walls that a job gets
//	csrc/touch.c                pages that jobs of a zygote are known to write to are copied ahead
//	csrc/arena.c                an interpreter's objects lie together, so that forks share them in huge pages, and jobs get fresh memory
//	csrc/environ.c              a job's environment, without a copy of each variable
//	wire.go, client.go          the protocol and the caller's half; process.go, held.go, collect.go: one job as the caller sees it
//
// # The slot, as the forker finds it
//
// The container's init is
//
//	/millrace/forker [--bpf FILE] [-- ZYGOTE ARGV...]
//
// started as PID 1 of a pid namespace of its own, uid 0 of the slot's user namespace, with the slot's end of a SOCK_SEQPACKET
// socket pair as descriptor 3. Other descriptors above 3 are closed; 0, 1 and 2 stay as given (1 and 2 are the zygote's log; a
// job never sees them). Its environment is the zygote's (Template.ZygoteEnv).
//
//	PID 1  sets no_new_privs, makes all mounts private, drops what it can from the bounding set, loads the raw array of struct
//	       sock_filter in FILE (if given), starts PID 2, drops every capability, reaps, and exits when PID 2 ends
//	PID 2  the forker loop, or the zygote, which calls _millrace_forker.serve(3, run_job); both say hello when ready
//	jobs   children of PID 2, each PID 1 of a pid namespace of its own
//
// When the caller closes its end of the control socket PID 2 ends, and the whole slot with it.
//
// Capabilities needed in the slot's user namespace (Permitted, Effective and Bounding): SYS_ADMIN, SETUID, SETGID, KILL and
// SETPCAP. Without SETPCAP jobs keep the slot's bounding set (harmless, as they have no capabilities and no_new_privs).
// A rootless slot (one uid mapped, Options.Rootless) needs no SETUID, SETGID or KILL.
//
// The seccomp filter, whether in FILE or loaded by the container runtime, is inherited by all and must let the forker do: clone
// with CLONE_NEW{NS,PID,IPC,UTS}, mount, umount2, sethostname, setsid, setgroups, setresuid, setresgid, capset, prctl, seccomp,
// prlimit64, close_range, execveat, dup3, fcntl, signalfd4, ppoll, recvmsg, sendmsg, pipe2, wait4, kill. Jobs get a second,
// small filter that takes mount, namespace, keyring, bpf, perf, io_uring and userfaultfd calls away again.
//
// What must exist in the slot's root, which may be read-only:
//
//	/work      an empty directory: every job mounts its own tmpfs here (mode 0700, owned by the job's uid)
//	/proc      mounted: every job mounts its own over it, hidepid=2,subset=pid where the kernel can, and the kernel allows that
//	           only where a proc is visible already. Masked and read-only paths in it are fine
//	/dev/null  plus, for the programs' sake, zero, full, random, urandom and the links fd, stdin, stdout, stderr to /proc/self/fd
//	/tmp       a symlink to /work (costs a job nothing), or a directory (then every job binds its /work over it)
//	/dev/shm   likewise; may be missing
//	/millrace  holding forker and, if --bpf names it, the filter
//
// /tmp and /dev/shm are thus the same private folder as /work: nothing that a job writes there survives it, and one size limit
// bounds all. oom_score_adj of the slot should not be made negative with CAP_SYS_RESOURCE: jobs raise theirs to 1000, but could
// lower it again to what it was. Cgroup namespace, cgroup limits, network and read-only mounts are the container's business: a job
// inherits them.
//
// The uid and gid of jobs are Options.UID and Options.GID, as seen inside the slot; both must be mapped and not 0.
//
// # One job
//
// Client.Start sends a request with descriptors (job socket, output pipe, and if asked for the program to execute, a large
// payload, the pipe that takes the collected file back). The forker clones; the child, in this order: places its descriptors
// and closes all others, mounts, sets resource limits, changes uid, writes the files, gives up capabilities, adds its seccomp
// filter, restores signals, and only then becomes the program or, in a zygote, calls run_job(). What fails on the way comes
// back in Exit.Error ("mount /work: Cannot allocate memory").
//
// With Spec.Init the child stays as a minimal init: the program is its child, orphans are reaped, and when the program has
// ended everything else is killed, and the file named in Spec.Collect goes back through a pipe that no other process holds.
//
// Client.Hold has a child do all of that but what needs to be known of its program: it waits with the job's socket and output, the
// report pipe and one more socket, on which Become sends a request of the same form. Files are then written by a process without
// capabilities and below the filter, and neither argv nor environment ever reach the forker.
//
// The minimal init sends the program's status ahead of the collected file, so that Told knows of a good end while the kernel still takes
// the namespaces apart.
//
// A zygote runs code that tenants chose, so what comes out of the control socket is not trusted: messages are small, of fixed
// shape, and any that is not expected ends the slot. A lying zygote can misreport its own jobs and nothing else.
package forker
