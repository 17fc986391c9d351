#include "CommandLine.h"
#include <stddef.h>
#include <string.h>

// Whether getopt has met the end or `--`; it does not remember the latter itself.
static int flags_ended;

void fanout_arguments_begin(void) {
    flags_ended = 0;
    // Zero, not one: glibc then forgets what an earlier parse left behind (getopt(3), "Notes").
    optind = 0;
    opterr = 0;
}

// Whether `argument` is exactly `--name` or `--name=…`: getopt_long itself also takes any unambiguous beginning.
static int names_option(const char *argument, const char *name) {
    size_t length = strlen(name);
    return strncmp(argument, "--", 2) == 0 && strncmp(argument + 2, name, length) == 0
        && (argument[2 + length] == '\0' || argument[2 + length] == '=');
}

FanoutArgument fanout_arguments_next(int argc, char *const *argv, const struct option *options, int help) {
    int place = optind == 0 ? 1 : optind;
    const char *written = place < argc ? argv[place] : "";
    int index = -1;
    // '-' keeps the order and reports plain arguments as option 1; ':' tells a missing value from an unknown flag.
    int code = flags_ended ? -1 : getopt_long(argc, argv, "-:h", options, &index);
    switch (code) {
    case -1:
        flags_ended = 1;
        if (optind < argc) {
            return (FanoutArgument){FANOUT_ARGUMENT_PLAIN, -1, argv[optind++]};
        }
        return (FanoutArgument){FANOUT_ARGUMENTS_END, -1, NULL};
    case 1:
        return (FanoutArgument){FANOUT_ARGUMENT_PLAIN, -1, optarg};
    case 'h':
        return (FanoutArgument){FANOUT_ARGUMENT_FLAG, help, NULL};
    case 0:
        if (!names_option(written, options[index].name)) {
            return (FanoutArgument){FANOUT_ARGUMENT_UNKNOWN, -1, written};
        }
        return (FanoutArgument){FANOUT_ARGUMENT_FLAG, index, optarg};
    default:
        break;
    }
    for (int option = 0; options[option].name != NULL; option++) {
        if (names_option(written, options[option].name)) {
            FanoutArgumentKind kind = code == ':' ? FANOUT_ARGUMENT_VALUE_MISSING : FANOUT_ARGUMENT_VALUE_UNWANTED;
            return (FanoutArgument){kind, option, written};
        }
    }
    return (FanoutArgument){FANOUT_ARGUMENT_UNKNOWN, -1, written};
}
