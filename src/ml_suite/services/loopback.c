/* Preloaded into ecflow_server, which has no option for the address it listens at: it then listens at loopback only,
   and calls itself localhost in the jobs it makes. Other programs that it starts are left alone. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

__attribute__((constructor)) static void not_for_children(void) { unsetenv("LD_PRELOAD"); }

int gethostname(char *name, size_t length)
{
    if (length < sizeof "localhost") {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(name, "localhost");
    return 0;
}

int bind(int descriptor, const struct sockaddr *address, socklen_t length)
{
    int (*bind_anywhere)(int, const struct sockaddr *, socklen_t);
    *(void **)&bind_anywhere = dlsym(RTLD_NEXT, "bind");
    if (address->sa_family == AF_INET && length >= (socklen_t)sizeof(struct sockaddr_in)) {
        struct sockaddr_in local = *(const struct sockaddr_in *)address;
        if (local.sin_addr.s_addr == htonl(INADDR_ANY)) {
            local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            return bind_anywhere(descriptor, (const struct sockaddr *)&local, sizeof local);
        }
    }
    return bind_anywhere(descriptor, address, length);
}
