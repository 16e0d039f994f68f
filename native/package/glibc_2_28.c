// What glibc 2.28 lacks, or has under an older symbol version than the glibc that packages are linked with. Binaries
// for packages alone hold this file (native/cmake/Package.cmake). Its functions are hidden: the binary calls them in
// place of glibc's newer ones, and they call the versions that glibc 2.28 and all later ones have.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#define BASE_VERSION "GLIBC_2.2.5"
#define STAT_VERSION 1  // _STAT_VER of glibc 2.28
#elif defined(__aarch64__)
#define BASE_VERSION "GLIBC_2.17"
#define STAT_VERSION 0
#else
#error "no package is built for this architecture"
#endif

// The function `name` with the version that it had in glibc 2.28.
#define FORWARD(result, name, parameters, arguments)         \
  result base_##name parameters;                             \
  __asm__(".symver base_" #name "," #name "@" BASE_VERSION); \
  result name parameters { return base_##name arguments; }

// Moved from libdl.so.2 and libpthread.so.0 to libc.so.6 in glibc 2.32 and 2.34.
FORWARD(void*, dlopen, (const char* file, int mode), (file, mode))
FORWARD(void*, dlsym, (void* library, const char* name), (library, name))
FORWARD(char*, dlerror, (void), ())
FORWARD(int, dladdr, (const void* address, Dl_info* information), (address, information))
FORWARD(int, pthread_create,
        (pthread_t * thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument),
        (thread, attributes, start, argument))
FORWARD(int, pthread_detach, (pthread_t thread), (thread))
FORWARD(int, pthread_join, (pthread_t thread, void** result), (thread, result))
FORWARD(int, pthread_once, (pthread_once_t * control, void (*routine)(void)), (control, routine))
FORWARD(int, pthread_mutex_trylock, (pthread_mutex_t * mutex), (mutex))
FORWARD(int, pthread_sigmask, (int how, const sigset_t* set, sigset_t* old), (how, set, old))
FORWARD(int, pthread_key_create, (pthread_key_t * key, void (*destructor)(void*)), (key, destructor))
FORWARD(int, pthread_key_delete, (pthread_key_t key), (key))
FORWARD(void*, pthread_getspecific, (pthread_key_t key), (key))
FORWARD(int, pthread_setspecific, (pthread_key_t key, const void* value), (key, value))
FORWARD(int, pthread_rwlock_rdlock, (pthread_rwlock_t * lock), (lock))
FORWARD(int, pthread_rwlock_wrlock, (pthread_rwlock_t * lock), (lock))
FORWARD(int, pthread_rwlock_unlock, (pthread_rwlock_t * lock), (lock))

// Since glibc 2.29 they report errors in errno alone. The values are those of the same code.
FORWARD(double, exp, (double x), (x))
FORWARD(double, exp2, (double x), (x))
FORWARD(double, log, (double x), (x))
FORWARD(double, log2, (double x), (x))
FORWARD(double, pow, (double x, double y), (x, y))

// Since glibc 2.33 functions; inline calls of __fxstat(), __xstat() and __lxstat() before.
int base_fxstat(int version, int file, struct stat* status);
int base_xstat(int version, const char* path, struct stat* status);
int base_lxstat(int version, const char* path, struct stat* status);
__asm__(".symver base_fxstat,__fxstat@" BASE_VERSION);
__asm__(".symver base_xstat,__xstat@" BASE_VERSION);
__asm__(".symver base_lxstat,__lxstat@" BASE_VERSION);
int fstat(int file, struct stat* status) { return base_fxstat(STAT_VERSION, file, status); }
int fstat64(int file, struct stat64* status) { return base_fxstat(STAT_VERSION, file, (struct stat*)status); }
int stat(const char* path, struct stat* status) { return base_xstat(STAT_VERSION, path, status); }
int lstat(const char* path, struct stat* status) { return base_lxstat(STAT_VERSION, path, status); }

// Since glibc 2.36, for std::random_device, which ends the process too where the system has no random numbers.
uint32_t arc4random(void) {
  uint32_t number;
  if (getentropy(&number, sizeof number) != 0) abort();
  return number;
}

// libstdc++ asks it (glibc 2.32) whether reference counts need atomic instructions. 0: they always do.
char __libc_single_threaded = 0;

// Since glibc 2.30. libstdc++ has the same arithmetic for an older glibc: the deadline on the clock of
// pthread_cond_timedwait(), which here is the time of day. A change of that clock while a thread waits changes its
// wait.
int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const struct timespec* deadline) {
  enum { kSecond = 1000000000 };
  struct timespec now;
  struct timespec until;
  if (clock == CLOCK_REALTIME) return pthread_cond_timedwait(condition, mutex, deadline);
  clock_gettime(clock, &now);
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += deadline->tv_sec - now.tv_sec;
  until.tv_nsec += deadline->tv_nsec - now.tv_nsec;
  if (until.tv_nsec < 0) {
    until.tv_sec -= 1;
    until.tv_nsec += kSecond;
  } else if (until.tv_nsec >= kSecond) {
    until.tv_sec += 1;
    until.tv_nsec -= kSecond;
  }
  return pthread_cond_timedwait(condition, mutex, &until);
}
