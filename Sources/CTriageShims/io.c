#include "CTriageShims.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

int CTriageShims_accept(int listener) {
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static socklen_t fill(struct sockaddr_storage *storage, const char *host, uint16_t port) {
    memset(storage, 0, sizeof *storage);
    struct sockaddr_in *v4 = (struct sockaddr_in *)storage;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)storage;
    memset(storage, 0, sizeof *storage);
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return sizeof *v6;
    }
    return 0;
}

int CTriageShims_bind(int fd, const char *host, uint16_t port) {
    struct sockaddr_storage storage;
    socklen_t size = fill(&storage, host, port);
    if (size == 0) return errno = EINVAL, -1;
    return bind(fd, (struct sockaddr *)&storage, size);
}

int CTriageShims_connect(int fd, const char *host, uint16_t port) {
    struct sockaddr_storage storage;
    socklen_t size = fill(&storage, host, port);
    if (size == 0) return errno = EINVAL, -1;
    return connect(fd, (struct sockaddr *)&storage, size);
}

int CTriageShims_family(const char *host) {
    struct sockaddr_storage storage;
    return fill(&storage, host, 0) == 0 ? -1 : storage.ss_family;
}

int CTriageShims_local_port(int fd) {
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    if (getsockname(fd, (struct sockaddr *)&storage, &size) != 0) return -1;
    if (storage.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&storage)->sin_port);
    if (storage.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&storage)->sin6_port);
    return errno = EAFNOSUPPORT, -1;
}

int CTriageShims_set_int(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value);
}

int CTriageShims_socket_error(int fd) {
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size) == 0 ? value : -1;
}

int CTriageShims_resolve(const char *host, char *addresses, size_t capacity) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, NULL, &hints, &found);
    if (code != 0) return code;
    size_t used = 0;
    for (struct addrinfo *each = found; each != NULL; each = each->ai_next) {
        char text[NI_MAXHOST];
        if (getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, NULL, 0,
                        NI_NUMERICHOST) != 0)
            continue;
        size_t length = strlen(text);
        if (used + length + 2 > capacity) break;
        memcpy(addresses + used, text, length);
        used += length;
        addresses[used++] = '\n';
    }
    addresses[used] = 0;
    freeaddrinfo(found);
    return 0;
}

const char *CTriageShims_resolve_text(int code) { return gai_strerror(code); }

int CTriageShims_signalfd(const int *signals, size_t count) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++) sigaddset(&set, signals[i]);
    int code = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (code != 0) return errno = code, -1;
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int CTriageShims_forbid_core_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) != 0) return -1;
    if (limit.rlim_cur != 0 || limit.rlim_max != 0) {
        limit.rlim_cur = limit.rlim_max = 0;
        if (setrlimit(RLIMIT_CORE, &limit) != 0) return -1;
    }
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int CTriageShims_name_thread(const char *name) { return pthread_setname_np(pthread_self(), name); }

int CTriageShims_pin_thread(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

int CTriageShims_duplicate_listener(int fd) {
    int accepting = 0, type = 0;
    socklen_t size = sizeof accepting;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &size) != 0) return -1;
    size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return -1;
    if (!accepting || type != SOCK_STREAM) return errno = EINVAL, -1;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) return -1;
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

int CTriageShims_notify(const char *path, const char *text) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof address.sun_path) return errno = ENAMETOOLONG, -1;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    ssize_t sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    int error = errno;
    close(fd);
    return errno = error, sent < 0 ? -1 : 0;
}

int CTriageShims_file_stamp(const char *path, int64_t *numbers) {
    struct stat status;
    if (stat(path, &status) != 0) return -1;
    numbers[0] = (int64_t)status.st_dev;
    numbers[1] = (int64_t)status.st_ino;
    numbers[2] = (int64_t)status.st_size;
    numbers[3] = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    numbers[4] = (int64_t)status.st_ctim.tv_sec * 1000000000 + status.st_ctim.tv_nsec;
    return 0;
}

int CTriageShims_schedule_thread(uint64_t slice_nanoseconds, int nicer) {
    // The first published layout of the kernel's struct sched_attr.
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = sizeof attributes, .runtime = slice_nanoseconds};
    int nice = getpriority(PRIO_PROCESS, 0) + nicer;
    attributes.nice = nice < 19 ? nice : 19;
    return (int)syscall(SYS_sched_setattr, 0, &attributes, 0u);
}

void CTriageShims_keep_freed_memory(int map_threshold, int trim_threshold, int top_pad) {
    mallopt(M_MMAP_THRESHOLD, map_threshold);
    mallopt(M_TRIM_THRESHOLD, trim_threshold);
    mallopt(M_TOP_PAD, top_pad);
}

int CTriageShims_pipe(int *ends) { return pipe2(ends, O_CLOEXEC); }

int CTriageShims_spawn(int32_t *process, char *const *arguments, int output) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int code = posix_spawn_file_actions_init(&actions);
    if (code != 0) return code;
    code = posix_spawnattr_init(&attributes);
    if (code != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return code;
    }
    // Inherited over exec; the kernel would forget how the program ended.
    struct sigaction ends;
    if (sigaction(SIGCHLD, NULL, &ends) == 0 &&
        (ends.sa_handler == SIG_IGN || (ends.sa_flags & SA_NOCLDWAIT) != 0))
        signal(SIGCHLD, SIG_DFL);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    pid_t started = 0;
    if ((code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)) == 0 &&
        (code = posix_spawn_file_actions_adddup2(&actions, output, 1)) == 0 &&
        (code = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)) == 0 &&
        (code = posix_spawnattr_setsigmask(&attributes, &none)) == 0 &&
        (code = posix_spawnattr_setsigdefault(&attributes, &all)) == 0 &&
        (code = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                                          POSIX_SPAWN_SETSIGDEF)) == 0)
        code = posix_spawn(&started, arguments[0], &actions, &attributes, arguments, environ);
    *process = started;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}
