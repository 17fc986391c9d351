// The Linux interfaces that Swift's Glibc module does not carry. What needs _GNU_SOURCE is in the .c files: with it,
// this module's system types (fd_set) would differ from Glibc's, and no Swift file could import both.
#pragma once
#include <getopt.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "MemoryFile.h"
#include "LinuxSockets.h"
#include "CommandLine.h"
#include "Prefetch.h"
#include "StartChild.h"
