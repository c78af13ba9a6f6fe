// Socket and thread calls that need _GNU_SOURCE or a cast that Swift cannot write. No logic lives
// here.
#ifndef C_TRIAGE_SHIMS_IO_H
#define C_TRIAGE_SHIMS_IO_H

#include <stddef.h>
#include <stdint.h>

/// accept4(2) with SOCK_NONBLOCK | SOCK_CLOEXEC; the peer's address is not wanted.
int CTriageShims_accept(int listener);
/// bind(2) to an IPv4 or IPv6 literal; -1 and EINVAL when `host` is neither.
int CTriageShims_bind(int fd, const char *host, uint16_t port);
/// connect(2) to an IPv4 or IPv6 literal; -1 and EINVAL when `host` is neither.
int CTriageShims_connect(int fd, const char *host, uint16_t port);
/// AF_INET or AF_INET6 for a literal; -1 when `host` is neither.
int CTriageShims_family(const char *host);
/// The local port of a bound socket, or -1.
int CTriageShims_local_port(int fd);
/// setsockopt(2) with an int.
int CTriageShims_set_int(int fd, int level, int option, int value);
/// SO_ERROR of a socket, or -1.
int CTriageShims_socket_error(int fd);
/// Resolves a host name to the texts of all its addresses, each with a line end, as many as fit; 0,
/// or getaddrinfo's error.
int CTriageShims_resolve(const char *host, char *addresses, size_t capacity);
/// getaddrinfo's error in words.
const char *CTriageShims_resolve_text(int code);
/// Blocks the signals in the calling thread and returns a signalfd for them, or -1.
int CTriageShims_signalfd(const int *signals, size_t count);
/// A close-on-exec, non-blocking duplicate of a listening stream socket; -1 and EINVAL for anything
/// else.
int CTriageShims_duplicate_listener(int fd);
/// Sends a datagram to a unix socket; `@` begins an abstract name. 0, or -1 and errno.
int CTriageShims_notify(const char *path, const char *text);
/// stat(2): device, inode, size, mtime and ctime in nanoseconds; 0, or -1 and errno.
int CTriageShims_file_stamp(const char *path, int64_t *numbers);
/// pipe2(2) with O_CLOEXEC; the reading end first. 0, or -1 and errno.
int CTriageShims_pipe(int *ends);
/// posix_spawn(3) of `arguments`, which a null pointer ends, with `output` as its standard output,
/// nothing as its input and errors, every signal at its default and none blocked. 0, or an errno.
int CTriageShims_spawn(int32_t *process, char *const *arguments, int output);
/// Lets the process leave no core file: RLIMIT_CORE 0 where it is not, PR_SET_DUMPABLE off. 0, or
/// -1 and errno.
int CTriageShims_forbid_core_files(void);
/// pthread_setname_np for the calling thread.
int CTriageShims_name_thread(const char *name);
/// Binds the calling thread to one CPU.
int CTriageShims_pin_thread(int cpu);
/// Gives the calling thread a time slice (0: the kernel's) and makes it so much nicer than it is,
/// by sched_setattr(2), for which the C library has no wrapper. Returns 0, or -1 with errno.
int CTriageShims_schedule_thread(uint64_t slice_nanoseconds, int nicer);
/// mallopt(3): blocks that are mapped by themselves, free memory that an arena gives back, and how
/// much more than needed it takes, all in bytes.
void CTriageShims_keep_freed_memory(int map_threshold, int trim_threshold, int top_pad);

#endif
