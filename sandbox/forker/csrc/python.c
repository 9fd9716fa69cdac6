// The CPython extension _millrace_forker: serve(fd, run_job) runs the forker's loop in a booted, warmed, single-threaded
// interpreter. Each job is a confined copy of it that calls run_job() and exits without finalising the interpreter.
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

static int run_child(void *run_job) {
	PyOS_AfterFork_Child();
	int status = status_of(PyObject_CallObject(run_job, NULL));
	flush("stdout");
	flush("stderr");
	return status;
}

static PyObject *py_serve(PyObject *self, PyObject *args) {
	(void)self;
	int fd;
	PyObject *run_job;
	if (!PyArg_ParseTuple(args, "iO:serve", &fd, &run_job)) return NULL;
	if (!PyCallable_Check(run_job)) {
		PyErr_SetString(PyExc_TypeError, "serve: run_job must be callable");
		return NULL;
	}
	struct host python = {PyOS_BeforeFork, PyOS_AfterFork_Parent, run_child, run_job};
	if (serve(fd, &python)) return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{"serve", py_serve, METH_VARARGS,
	 "serve(fd, run_job): fork a confined child that calls run_job() for each request on fd; returns when fd is closed."},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_millrace_forker", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__millrace_forker(void) { return PyModule_Create(&module); }
