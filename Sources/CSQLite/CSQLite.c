// What of SQLite Swift cannot call.
#include "CSQLite.h"

#include <errno.h>
#include <stddef.h>

int store_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, uint64_t count) {
    // A null pointer would bind NULL, whatever the count.
    return sqlite3_bind_blob64(statement, index, bytes ? bytes : "", count, SQLITE_STATIC);
}

int store_bind_text(sqlite3_stmt *statement, int index, const char *text, uint64_t count) {
    return sqlite3_bind_text64(statement, index, text ? text : "", count, SQLITE_STATIC, SQLITE_UTF8);
}

int store_bind_blob_copy(sqlite3_stmt *statement, int index, const void *bytes, int count) {
    return sqlite3_bind_blob(statement, index, bytes ? bytes : "", count, SQLITE_TRANSIENT);
}

int store_bind_text_copy(sqlite3_stmt *statement, int index, const char *text, int count) {
    return sqlite3_bind_text(statement, index, text, count, SQLITE_TRANSIENT);
}

int store_harden(sqlite3 *database, int row_bytes_max) {
    static const struct { int verb, value; } settings[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},        {SQLITE_DBCONFIG_DQS_DDL, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        // A checkpoint whose fsync failed must not be tried again by closing: the second fsync would succeed, and the
        // log would be deleted.
        {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        int result = sqlite3_db_config(database, settings[i].verb, settings[i].value, NULL);
        if (result != SQLITE_OK) return result;
    }
    sqlite3_limit(database, SQLITE_LIMIT_LENGTH, row_bytes_max);
    return SQLITE_OK;
}

static int note_frames(void *frames, sqlite3 *database, const char *name, int count) {
    (void)database;
    (void)name;
    *(int *)frames = count;
    return SQLITE_OK;
}

void store_count_frames(sqlite3 *database, int *frames) {
    sqlite3_wal_hook(database, note_frames, frames);
}

int store_log_errno(sqlite3 *database) {
    sqlite3_file *log = NULL;
    int error = 0;
    if (sqlite3_file_control(database, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) != SQLITE_OK) return 0;
    if (!log || !log->pMethods || log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error) != SQLITE_OK) {
        return 0;
    }
    return error;
}

static int is_read_failure(int error) { return error == EIO || error == ERANGE || error == ENXIO; }

int store_read_errno(sqlite3 *database) {
    int error = 0;
    sqlite3_file_control(database, "main", SQLITE_FCNTL_LAST_ERRNO, &error);
    if (is_read_failure(error)) return error;
    error = store_log_errno(database);
    return is_read_failure(error) ? error : 0;
}

// A small file is opened as what SQLite calls a super-journal: that is a plain file, without locks, whose name is on
// the disk once its first sync has returned.
static int open_small_file(
    sqlite3_vfs *vfs, const char *path, int flags, sqlite3_file **opened, sqlite3_filename *name, int *error
) {
    int writes = flags & SQLITE_OPEN_CREATE;
    *name = sqlite3_create_filename(path, "", "", 0, NULL);
    sqlite3_file *file = sqlite3_malloc(vfs->szOsFile);
    if (!*name || !file) {
        sqlite3_free_filename(*name);
        sqlite3_free(file);
        return SQLITE_NOMEM;
    }
    file->pMethods = NULL;
    int result = vfs->xOpen(vfs, *name, file, flags | SQLITE_OPEN_SUPER_JOURNAL, &flags);
    // The operating system's VFS opens for reading what cannot be opened for writing.
    if (result == SQLITE_OK && writes && (flags & SQLITE_OPEN_READONLY)) result = SQLITE_READONLY;
    if (result == SQLITE_OK) {
        *opened = file;
        return SQLITE_OK;
    }
    *error = vfs->xGetLastError ? vfs->xGetLastError(vfs, 0, NULL) : 0;
    if (file->pMethods) file->pMethods->xClose(file);
    sqlite3_free(file);
    sqlite3_free_filename(*name);
    return result;
}

static void close_small_file(sqlite3_file *file, sqlite3_filename name) {
    file->pMethods->xClose(file);
    sqlite3_free(file);
    sqlite3_free_filename(name);
}

int store_file_read(const char *vfs_name, const char *path, void *into, int capacity, int *count, int *error) {
    *count = 0;
    *error = 0;
    sqlite3_vfs *vfs = sqlite3_vfs_find(vfs_name);
    if (!vfs) return SQLITE_ERROR;
    int exists = 0;
    int result = vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &exists);
    if (result != SQLITE_OK || !exists) return result;
    sqlite3_file *file;
    sqlite3_filename name;
    result = open_small_file(vfs, path, SQLITE_OPEN_READWRITE, &file, &name, error);
    if (result != SQLITE_OK) return result;
    sqlite3_int64 size = 0;
    result = file->pMethods->xFileSize(file, &size);
    if (result == SQLITE_OK) {
        *count = size < capacity ? (int)size : capacity;
        if (*count > 0) result = file->pMethods->xRead(file, into, *count, 0);
    }
    if (result != SQLITE_OK && vfs->xGetLastError) *error = vfs->xGetLastError(vfs, 0, NULL);
    close_small_file(file, name);
    return result;
}

int store_file_write(const char *vfs_name, const char *path, const void *bytes, int count, int *error) {
    *error = 0;
    sqlite3_vfs *vfs = sqlite3_vfs_find(vfs_name);
    if (!vfs) return SQLITE_ERROR;
    sqlite3_file *file;
    sqlite3_filename name;
    int result = open_small_file(vfs, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &file, &name, error);
    if (result != SQLITE_OK) return result;
    result = file->pMethods->xWrite(file, bytes, count, 0);
    if (result == SQLITE_OK) result = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
    if (result != SQLITE_OK && vfs->xGetLastError) *error = vfs->xGetLastError(vfs, 0, NULL);
    close_small_file(file, name);
    return result;
}
