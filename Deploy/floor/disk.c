// What this machine's disk does without triaged: one write of 4 KiB and one fdatasync, COUNT times,
// at the end of the file and over blocks that were written before. Figures of triaged are read as
// ratios to these, taken in the same run. Deploy/bench compiles and runs it.
//
// With a pause it waits that long before each write, and only writes over what was written: a disk
// that is asked now and then, as by a server with one call at a time, answers otherwise than one
// that is asked all the time.
//
//   floor-disk FILE COUNT [PAUSE_MICROSECONDS]
// Prints `name value` lines; times in microseconds.
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

enum { BLOCK = 4096, COUNT_MAX = 100000, PAUSE_MAX = 1000000 };

// How the journal writes: into a file whose blocks were written before (`zeroed`), or at its end.
static void disk(const char *path, int count, int zeroed, long pause_us, const char *name) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) fail(path);
    static char block[BLOCK];
    memset(block, 'x', sizeof block);
    if (zeroed) {
        for (int i = 0; i < count; i++)
            if (write(fd, block, BLOCK) != BLOCK) fail("write");
        if (fsync(fd) || lseek(fd, 0, SEEK_SET) != 0) fail("fsync");
    }
    struct histogram times = {0};
    for (int i = 0; i < count; i++) {
        if (pause_us > 0) usleep((useconds_t)pause_us);
        uint64_t began = now_ns();
        if (write(fd, block, BLOCK) != BLOCK || fdatasync(fd)) fail("write");
        record(&times, now_ns() - began);
    }
    printf("%s_p50 %.2f\n%s_p99 %.2f\n", name, quantile_us(&times, 0.5), name,
           quantile_us(&times, 0.99));
    close(fd);
    unlink(path);
}

int main(int argc, char **argv) {
    int count = argc == 3 || argc == 4 ? atoi(argv[2]) : 0;
    long pause_us = argc == 4 ? atol(argv[3]) : 0;
    if (count <= 0 || count > COUNT_MAX || pause_us < 0 || pause_us > PAUSE_MAX) {
        fprintf(stderr, "usage: floor-disk FILE COUNT [PAUSE_MICROSECONDS]\n");
        return 64;
    }
    if (pause_us > 0) {
        disk(argv[1], count, 1, pause_us, "disk_paced");
        return 0;
    }
    disk(argv[1], count, 0, 0, "disk_append");
    disk(argv[1], count, 1, 0, "disk_rewrite");
    return 0;
}
