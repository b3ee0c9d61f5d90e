/* The C library's last ties to the world, cut at link time: a guest imports nothing.
 *
 * wasi-libc reaches its imports through these names. What is left of it after ambient.c belongs to stdio and abort; no
 * code path of the guest writes to a file, so they answer ENOSYS or trap. `close` has an import of its own.
 */
#include <stdint.h>

enum { ENOSYS_WASI = 52 };

#define WASI(name) __imported_wasi_snapshot_preview1_##name

int close(int fd);
int32_t WASI(fd_fdstat_get)(int32_t fd, int32_t stat);
int32_t WASI(fd_seek)(int32_t fd, int64_t offset, int32_t whence, int32_t position);
int32_t WASI(fd_write)(int32_t fd, int32_t vectors, int32_t count, int32_t written);
int32_t WASI(clock_time_get)(int32_t clock, int64_t precision, int32_t time);
_Noreturn void WASI(proc_exit)(int32_t code);

int close(int fd) {
    (void)fd;
    return -1;
}

int32_t WASI(fd_fdstat_get)(int32_t fd, int32_t stat) {
    (void)fd, (void)stat;
    return ENOSYS_WASI;
}

int32_t WASI(fd_seek)(int32_t fd, int64_t offset, int32_t whence, int32_t position) {
    (void)fd, (void)offset, (void)whence, (void)position;
    return ENOSYS_WASI;
}

int32_t WASI(fd_write)(int32_t fd, int32_t vectors, int32_t count, int32_t written) {
    (void)fd, (void)vectors, (void)count, (void)written;
    return ENOSYS_WASI;
}

int32_t WASI(clock_time_get)(int32_t clock, int64_t precision, int32_t time) {
    (void)clock, (void)precision, (void)time;
    return ENOSYS_WASI;
}

_Noreturn void WASI(proc_exit)(int32_t code) {
    (void)code;
    __builtin_trap();
}
