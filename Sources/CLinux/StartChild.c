// Starting a program that ends when this one does.
#define _GNU_SOURCE
#include "CLinux.h"
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

// In the child: never returns, and says errno to `report` where the program cannot be started.
static _Noreturn void become(char *const *words, char *const *variables, int input, const char *log_path, int report) {
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (nothing >= 0 && log >= 0 && dup2(input < 0 ? nothing : input, STDIN_FILENO) >= 0
        && dup2(nothing, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
        execvpe(words[0], words, variables);
    int error = errno;
    // Nobody is left to tell if this fails too.
    if (write(report, &error, sizeof error) < 0) _exit(126);
    _exit(127);
}

int64_t linux_start_child(char *const *words, char *const *variables, int input, const char *log_path) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0) return -(int64_t)errno;
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        // The parent may have ended before it was asked for.
        if (getppid() != parent) _exit(0);
        become(words, variables, input, log_path, report[1]);
    }
    int64_t outcome = child < 0 ? -(int64_t)errno : child;
    close(report[1]);
    int error = 0;
    ssize_t count;
    do count = child < 0 ? 0 : read(report[0], &error, sizeof error);
    while (count < 0 && errno == EINTR);
    close(report[0]);
    if (count != sizeof error) return outcome;
    waitpid(child, NULL, 0);
    return -(int64_t)error;
}
