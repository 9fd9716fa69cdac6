// The CPython extension _millrace_forker: serve(fd, run_job) runs the forker's loop in a booted, warmed, single-threaded
// interpreter. Each job is a confined copy of it that calls run_job() and exits without finalising the interpreter.
//
// A fork of a process with one thread, which holds every lock of the interpreter or knows it to be free, has nothing to mend: its
// thread has the same identity in the child. What Python does around a fork then amounts to the hooks of os.register_at_fork, and
// a caller that does without them spares each job some seventy page faults.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "forker.h"

#include <errno.h>

static void flush(const char *stream) {
	PyObject *file = PySys_GetObject(stream); // borrowed
	if (!file || file == Py_None) return;
	PyObject *done = PyObject_CallMethod(file, "flush", NULL);
	if (!done) PyErr_Clear();
	Py_XDECREF(done);
}

// status_of turns what run_job left behind into an exit status: None is 0, an int is itself, an exception 1 (printed), and
// SystemExit what it carries.
static int status_of(PyObject *value) {
	PyObject *type = NULL, *error = NULL, *trace = NULL;
	if (!value && PyErr_ExceptionMatches(PyExc_SystemExit)) {
		PyErr_Fetch(&type, &error, &trace);
		PyErr_NormalizeException(&type, &error, &trace);
		value = error ? PyObject_GetAttrString(error, "code") : NULL;
	}
	if (!value) {
		PyErr_Print();
		return 1;
	}
	if (value == Py_None) return 0;
	long code = PyLong_Check(value) ? PyLong_AsLong(value) : 1;
	PyErr_Clear();
	return (int)(code & 0xff);
}

struct work {
	PyObject *run_job, *practise;
	int hooks;
};

static int run_child(void *arg) {
	struct work *w = arg;
	if (w->hooks) PyOS_AfterFork_Child();
	int status = status_of(PyObject_CallObject(w->run_job, NULL));
	flush("stdout");
	flush("stderr");
	return status;
}

// practise does what a job does, in a child that tells which pages that takes.
static void practise(void *arg) {
	struct work *w = arg;
	if (w->hooks) PyOS_AfterFork_Child();
	(void)status_of(PyObject_CallObject(w->practise, NULL));
}

static void learn(struct work *w) {
	if (w->hooks) PyOS_BeforeFork();
	touch_learn(practise, w);
	if (w->hooks) PyOS_AfterFork_Parent();
}

static PyObject *py_serve(PyObject *self, PyObject *args) {
	(void)self;
	int fd;
	struct work w = {NULL, NULL, 1};
	if (!PyArg_ParseTuple(args, "iO|pO:serve", &fd, &w.run_job, &w.hooks, &w.practise)) return NULL;
	if (!PyCallable_Check(w.run_job) || (w.practise && !PyCallable_Check(w.practise))) {
		PyErr_SetString(PyExc_TypeError, "serve: run_job and practise must be callable");
		return NULL;
	}
	struct host python = {.child = run_child, .arg = &w};
	if (w.hooks) {
		python.before = PyOS_BeforeFork;
		python.parent = PyOS_AfterFork_Parent;
	}
	heap_fill();
	collapse();
	if (w.practise) learn(&w);
	if (serve(fd, &python)) return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}

static PyObject *py_gather(PyObject *self, PyObject *none) {
	(void)self, (void)none;
	arena_gather();
	Py_RETURN_NONE;
}

static PyObject *py_environ(PyObject *self, PyObject *block) {
	(void)self;
	char *text;
	Py_ssize_t size;
	if (PyBytes_AsStringAndSize(block, &text, &size)) return NULL;
	if (environ_take(text, size)) return PyErr_NoMemory();
	Py_INCREF(block); // as long as the process lives
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{"environ", py_environ, METH_O, "environ(block): C's environ gets the variables of block, name=value and a zero byte each, and points into it."},
	{"gather", py_gather, METH_NOARGS, "gather(): objects that are made from now on lie together, for serve to make the best of it."},
	{"serve", py_serve, METH_VARARGS,
	 "serve(fd, run_job, hooks=True, practise=None): fork a confined child that calls run_job() for each request on fd; returns "
	 "when fd is closed. hooks: whether each fork runs what os.register_at_fork knows; false only with a single thread. practise: "
	 "does what jobs do, called once in a child, so that the memory that jobs write to is known."},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_millrace_forker", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__millrace_forker(void) { return PyModule_Create(&module); }
