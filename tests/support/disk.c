/* Loaded in front of the C library: counts syncs, and lets a disk be full or fail while files say so.
 *
 * DISK_SYNCS: a file that grows by one byte with each sync. DISK_FULL, DISK_DEAD: while they exist, writes to files find no
 * room, syncs fail. Nothing else is touched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_set(const char *name) {
  const char *file = getenv(name);
  return file && access(file, F_OK) == 0;
}

static int synced(const char *name, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  const char *count = getenv("DISK_SYNCS");
  if (count) {
    int out = open(count, O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (out >= 0) {
      ssize_t (*append)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
      if (append(out, ".", 1) != 1) abort();
      close(out);
    }
  }
  if (is_set("DISK_DEAD")) {
    errno = EIO;
    return -1;
  }
  return real(fd);
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }

static ssize_t written(const char *name, int fd, const void *data, size_t size, off_t at) {
  ssize_t (*real)(int, const void *, size_t, off_t) = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, name);
  if (is_set("DISK_FULL")) {
    errno = ENOSPC;
    return -1;
  }
  return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return written("pwrite", fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return written("pwrite64", fd, data, size, at); }
