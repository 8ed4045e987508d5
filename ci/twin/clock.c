/* A clock that is AHEAD seconds ahead, for every program that the loader puts this into.
 *
 * It opens nothing and keeps nothing, so it also lives in the cage of sshd's unprivileged child and in programs that
 * change their user. Times of files stay right: a file server writes them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int of_the_day(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

static int right_time(clockid_t clock, struct timespec *t)
{
    static int (*next)(clockid_t, struct timespec *);
    if (!next)
        next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    return next ? next(clock, t) : (int)syscall(SYS_clock_gettime, clock, t);
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    int answer = right_time(clock, t);
    if (!answer && of_the_day(clock))
        t->tv_sec += AHEAD;
    return answer;
}

time_t time(time_t *there)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (there)
        *there = t.tv_sec;
    return t.tv_sec;
}

int gettimeofday(struct timeval *restrict there, void *restrict zone)
{
    struct timespec t;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    there->tv_sec = t.tv_sec;
    there->tv_usec = t.tv_nsec / 1000;
    return 0;
}

int timespec_get(struct timespec *t, int base)
{
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, t) ? base : 0;
}

/* Moments until which a program waits come from the clock above; the kernel knows the right one. */
static struct timespec kernels(const struct timespec *until)
{
    struct timespec now, moment = *until;
    right_time(CLOCK_REALTIME, &now);
    /* a moment of the monotonic clock is far in the past */
    if (moment.tv_sec > now.tv_sec - AHEAD)
        moment.tv_sec -= AHEAD;
    return moment;
}

int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m, const struct timespec *restrict until)
{
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec moment = kernels(until);
    if (!next) {
        /* the version that programs of today use, where there is an older one */
        void *found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        next = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))(
            found ? found : dlsym(RTLD_NEXT, "pthread_cond_timedwait"));
    }
    return next(c, m, &moment);
}

int sem_timedwait(sem_t *restrict s, const struct timespec *restrict until)
{
    static int (*next)(sem_t *, const struct timespec *);
    struct timespec moment = kernels(until);
    if (!next)
        next = (int (*)(sem_t *, const struct timespec *))dlsym(RTLD_NEXT, "sem_timedwait");
    return next(s, &moment);
}
