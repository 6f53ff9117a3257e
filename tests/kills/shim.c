/* Kills its own process at the n-th write, fsync, rename or unlink below a folder.

   Loaded with LD_PRELOAD and armed by `kills_arm`, so that a process can import all it needs first.
   The process dies before the call, after it, or, of a write, when half of it is done. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum op { WRITE, FSYNC, RENAME, UNLINK, OPS };
enum when { BEFORE, HALF, AFTER };

static char below[PATH_MAX];
static size_t below_length;
static atomic_long seen[OPS];
static int target = -1, when = BEFORE;
static long number;

/* Counts from now on what happens below a folder; `op` is -1 to kill nothing. */
void kills_arm(const char *folder, int op, long at, int moment) {
  for (int each = 0; each < OPS; each++) atomic_store(&seen[each], 0);
  target = op;
  number = at;
  when = moment;
  snprintf(below, sizeof below, "%s", folder);
  below_length = strlen(below);
}

long kills_seen(int op) { return atomic_load(&seen[op]); }

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static int is_below(const char *path) {
  return below_length && !strncmp(path, below, below_length) &&
         (path[below_length] == '/' || path[below_length] == 0);
}

/* Whether this call is the one to die at. */
static int is_due(enum op op, const char *path) {
  if (!is_below(path)) return 0;
  return atomic_fetch_add(&seen[op], 1) + 1 == number && (int)op == target;
}

static void path_of(int descriptor, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
}

static void path_at(int folder, const char *name, char *path) {
  char base[PATH_MAX] = "";
  if (name[0] == '/') {
    snprintf(path, PATH_MAX, "%s", name);
    return;
  }
  if (folder != AT_FDCWD) path_of(folder, base);
  else if (!getcwd(base, sizeof base)) base[0] = 0;
  snprintf(path, PATH_MAX, "%.2000s/%.2000s", base, name);
}

static int is_due_at(enum op op, int descriptor) {
  char path[PATH_MAX];
  if (!below_length) return 0;
  path_of(descriptor, path);
  return is_due(op, path);
}

static int is_due_named(enum op op, int folder, const char *name) {
  char path[PATH_MAX];
  if (!below_length) return 0;
  path_at(folder, name, path);
  return is_due(op, path);
}

#define REAL(type, name, ...)                                   \
  static type (*real)(__VA_ARGS__);                             \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* Dies before or after a call, or gives what it gives. */
#define GUARDED(type, due, whole, half)   \
  if (due) {                              \
    if (when == AFTER) (void)!(whole);    \
    if (when == HALF) (void)!(half);      \
    die();                                \
  }                                       \
  return whole

ssize_t write(int fd, const void *data, size_t size) {
  REAL(ssize_t, "write", int, const void *, size_t);
  GUARDED(ssize_t, is_due_at(WRITE, fd), real(fd, data, size), real(fd, data, size / 2));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  GUARDED(ssize_t, is_due_at(WRITE, fd), real(fd, parts, count), real(fd, parts, count / 2));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
  GUARDED(ssize_t, is_due_at(WRITE, fd), real(fd, data, size, at), real(fd, data, size / 2, at));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
  GUARDED(ssize_t, is_due_at(WRITE, fd), real(fd, data, size, at), real(fd, data, size / 2, at));
}

int ftruncate(int fd, off_t size) {
  REAL(int, "ftruncate", int, off_t);
  GUARDED(int, is_due_at(WRITE, fd), real(fd, size), 0);
}

int ftruncate64(int fd, off_t size) {
  REAL(int, "ftruncate64", int, off_t);
  GUARDED(int, is_due_at(WRITE, fd), real(fd, size), 0);
}

int fsync(int fd) {
  REAL(int, "fsync", int);
  GUARDED(int, is_due_at(FSYNC, fd), real(fd), 0);
}

int fdatasync(int fd) {
  REAL(int, "fdatasync", int);
  GUARDED(int, is_due_at(FSYNC, fd), real(fd), 0);
}

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  GUARDED(int, is_due_named(RENAME, AT_FDCWD, to), real(from, to), 0);
}

int renameat(int one, const char *from, int other, const char *to) {
  REAL(int, "renameat", int, const char *, int, const char *);
  GUARDED(int, is_due_named(RENAME, other, to), real(one, from, other, to), 0);
}

int renameat2(int one, const char *from, int other, const char *to, unsigned flags) {
  REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
  GUARDED(int, is_due_named(RENAME, other, to), real(one, from, other, to, flags), 0);
}

int unlink(const char *name) {
  REAL(int, "unlink", const char *);
  GUARDED(int, is_due_named(UNLINK, AT_FDCWD, name), real(name), 0);
}

int unlinkat(int folder, const char *name, int flags) {
  REAL(int, "unlinkat", int, const char *, int);
  GUARDED(int, is_due_named(UNLINK, folder, name), real(folder, name, flags), 0);
}

int remove(const char *name) {
  REAL(int, "remove", const char *);
  GUARDED(int, is_due_named(UNLINK, AT_FDCWD, name), real(name), 0);
}

int rmdir(const char *name) {
  REAL(int, "rmdir", const char *);
  GUARDED(int, is_due_named(UNLINK, AT_FDCWD, name), real(name), 0);
}
