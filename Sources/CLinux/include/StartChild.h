// Starting a program that ends when this one does.
#pragma once
#include <stdint.h>

// Starts `words` (NULL at the end, the first one looked for in PATH) with the environment `variables`: standard input
// is `input`, or empty where that is negative; standard output goes nowhere, standard error to the file `log_path`. It
// leads a process group of its own, and gets SIGTERM when the calling thread ends, whatever ends it. Its process id, or
// -errno where it cannot be started. Only while this process has one thread.
int64_t linux_start_child(char *const *words, char *const *variables, int input, const char *log_path);
