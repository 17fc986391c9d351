// A seccomp filter on the calling thread that refuses one system call.
#define _GNU_SOURCE
#include "CLinux.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

int linux_refuse_system_call(long number, int error) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
    return (int)linux_outcome(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}
