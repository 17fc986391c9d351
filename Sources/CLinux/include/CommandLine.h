// getopt_long for Swift: optarg, optind, opterr and optopt are mutable globals, which Swift 6 refuses, and getopt's own
// error messages go to standard error without the suggestion and the advice that the command gives.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <getopt.h>

// What one step over the command line found.
typedef enum {
    // No argument is left.
    FANOUT_ARGUMENTS_END = 0,
    // `option` is the index of a long option; `text` is its value, or NULL where it takes none.
    FANOUT_ARGUMENT_FLAG,
    // `text` is an argument that is not a flag.
    FANOUT_ARGUMENT_PLAIN,
    // `text` is the argument as it was written; no flag has that name. Abbreviations count as unknown, because a flag
    // that is added later would change what they mean.
    FANOUT_ARGUMENT_UNKNOWN,
    // `option` is a flag that needs a value and is the last argument.
    FANOUT_ARGUMENT_VALUE_MISSING,
    // `option` is a flag that takes no value and was given one with `=`.
    FANOUT_ARGUMENT_VALUE_UNWANTED,
} FanoutArgumentKind;

// One step's result; `text` points into argv.
typedef struct {
    FanoutArgumentKind kind;
    int option;
    const char *text;
} FanoutArgument;

// Starts at argv[1]. Not thread-safe, as getopt is not.
void fanout_arguments_begin(void);

// The next argument of `argv`; `options` ends with a zeroed element, `-h` stands for the option at `help`.
// Flags and plain arguments may be mixed; after `--` everything is plain.
FanoutArgument fanout_arguments_next(int argc, char *const *argv, const struct option *options, int help);
