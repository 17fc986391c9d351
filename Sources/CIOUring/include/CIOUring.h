// What Swift cannot import from liburing by itself, and liburing itself (Debian's liburing-dev, 2.3 or newer).
#pragma once
#include <liburing.h>
