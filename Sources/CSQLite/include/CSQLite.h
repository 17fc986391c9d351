// SQLite's C interface, and what of it Swift cannot call: macros, variadic functions, hooks, a VFS's own methods.
#pragma once
#include <sqlite3.h>
#include <stdint.h>

/// Binds bytes that stay where they are until the statement is reset.
int store_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, uint64_t count);

/// Binds UTF-8 text that stays where it is until the statement is reset.
int store_bind_text(sqlite3_stmt *statement, int index, const char *text, uint64_t count);

/// Binds a copy of bytes.
int store_bind_blob_copy(sqlite3_stmt *statement, int index, const void *bytes, int count);

/// Binds a copy of UTF-8 text.
int store_bind_text_copy(sqlite3_stmt *statement, int index, const char *text, int count);

/// Makes a connection distrust the file: no triggers, no views, no functions in its schema, no writing to that by hand,
/// and rows of so many bytes at most; and makes closing just that, without a checkpoint.
int store_harden(sqlite3 *database, int row_bytes_max);

/// From now on every commit writes to `frames` how many frames the write-ahead log holds, and SQLite makes no
/// checkpoint of its own.
void store_count_frames(sqlite3 *database, int *frames);

/// The errno of the last call on the write-ahead log that failed; 0 where nobody knows. A commit leaves it there, and
/// not where sqlite3_system_errno looks.
int store_log_errno(sqlite3 *database);

/// The errno of a read of the database or its log that the disk could not do; 0 where there was none. SQLite calls the
/// file damaged then (`EIO`, `ERANGE` and `ENXIO` become SQLITE_CORRUPT), and it is not.
int store_read_errno(sqlite3 *database);

/// Reads the beginning of a small file through a VFS (NULL: the default one). Writes to `count` how many bytes there
/// were, 0 where the file does not exist, and to `error` the errno of a failure. Answers SQLite's codes.
int store_file_read(const char *vfs, const char *path, void *into, int capacity, int *count, int *error);

/// Writes the beginning of a small file through a VFS, makes it where there is none, and returns once both the bytes
/// and its name in the folder are on the disk. Answers as above.
int store_file_write(const char *vfs, const char *path, const void *bytes, int count, int *error);
