// Probes of sockets: kinds that a script has no use for, and services that it must not reach.
#define _GNU_SOURCE
#include "probe.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int sock(int family, int type, int protocol) {
	int fd = socket(family, type, protocol);
	return fd < 0 && (errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT) ? refused(ENOSYS) : fd;
}
static int p_packet(void) { return sock(AF_PACKET, SOCK_RAW, 0); }
static int p_raw(void) { return sock(AF_INET, SOCK_RAW, IPPROTO_ICMP); }
static int p_raw6(void) { return sock(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6); }
static int p_ping(void) { return sock(AF_INET, SOCK_DGRAM, IPPROTO_ICMP); }
static int p_vsock(void) { return sock(AF_VSOCK, SOCK_STREAM, 0); }
static int p_alg(void) { return sock(38 /* AF_ALG */, SOCK_SEQPACKET, 0); }
static int p_xdp(void) { return sock(44, SOCK_RAW, 0); }
static int p_netfilter(void) { return sock(AF_NETLINK, SOCK_RAW, 12); }
static int p_xfrm(void) { return sock(AF_NETLINK, SOCK_RAW, 6); }
static int p_audit(void) { return sock(AF_NETLINK, SOCK_RAW, 9); }
static int p_uevent(void) { return sock(AF_NETLINK, SOCK_RAW, 15); }
static int p_generic_netlink(void) { return sock(AF_NETLINK, SOCK_RAW, 16); }
static int p_key_socket(void) { return sock(AF_KEY, SOCK_RAW, 2); }
// Families of protocols that nobody here speaks; each is kernel code that could be reached.
static int p_rare_families(void) {
	int err = ENOSYS;
	for (int family = 3; family < 46; family++) {
		if (family == AF_INET6 || family == AF_NETLINK || family == AF_PACKET) continue;
		for (int type = 1; type <= 5; type++) {
			int fd = socket(family, type, 0);
			if (fd >= 0) return fd;
			if (errno == EPERM || errno == EACCES) err = errno;
		}
	}
	return refused(err);
}
static int p_net_admin(void) {
	struct ifreq r = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &r)) return -1;
	return ioctl(fd, SIOCSIFFLAGS, &r); // to what they are
}
static int p_so_mark(void) {
	int fd = socket(AF_INET, SOCK_DGRAM, 0), mark = 1;
	return fd < 0 ? -1 : setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark);
}
static int p_transparent(void) {
	int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
	return fd < 0 ? -1 : setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on);
}
static int p_bind_device(void) {
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	return fd < 0 ? -1 : setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
}

// reach says whether a TCP connection to address and port, or at least an answer that comes from there, can be had.
static int reach(const char *address, int port) {
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	int err = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	socklen_t n = sizeof err;
	if (fd < 0 || inet_pton(AF_INET, address, &in.sin_addr) != 1) return refused(EINVAL);
	if (!connect(fd, (void *)&in, sizeof in)) return fd;
	if (errno != EINPROGRESS) return -1;
	struct pollfd p = {fd, POLLOUT, 0};
	if (poll(&p, 1, 2000) <= 0) return refused(ETIMEDOUT);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n)) return -1;
	return err ? refused(err) : fd;
}
static int p_loopback(void) { return reach("127.0.0.1", atoi(aim("PROBE_HOST_PORT"))); }
static int p_loopback_alias(void) { return reach("127.1.2.3", atoi(aim("PROBE_HOST_ANY_PORT"))); }
static int p_any_address(void) { return reach("0.0.0.0", atoi(aim("PROBE_HOST_ANY_PORT"))); }
static int p_host_address(void) {
	return *aim("PROBE_HOST_ADDRESS") ? reach(aim("PROBE_HOST_ADDRESS"), atoi(aim("PROBE_HOST_ANY_PORT"))) : refused(ENODEV);
}
static int p_loopback6(void) {
	struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(aim("PROBE_HOST_PORT6"))), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	return fd < 0 ? -1 : connect(fd, (void *)&in, sizeof in);
}
static int p_mapped6(void) {
	struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(aim("PROBE_HOST_PORT")))};
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &in.sin6_addr);
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	return fd < 0 ? -1 : connect(fd, (void *)&in, sizeof in);
}
static int p_neighbour_tcp(void) { return reach("127.0.0.1", atoi(aim("PROBE_PORT"))); }

static int unix_connect(const char *name, int abstract) {
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(un.sun_path + abstract, sizeof un.sun_path - abstract, "%s", name);
	return fd < 0 ? -1 : connect(fd, (void *)&un, offsetof(struct sockaddr_un, sun_path) + abstract + strlen(name) + !abstract);
}
static int p_postgres_socket(void) { return unix_connect(aim("PROBE_POSTGRES"), 0); }
static int p_daemon_socket(void) { return unix_connect(aim("PROBE_DAEMON"), 0); }
static int p_docker_socket(void) { return unix_connect(control ? aim("PROBE_DAEMON") : "/run/docker.sock", 0); }
static int p_dbus_socket(void) { return unix_connect(control ? aim("PROBE_DAEMON") : "/run/dbus/system_bus_socket", 0); }
static int p_abstract_socket(void) { return unix_connect(aim("PROBE_ABSTRACT") + 1, 1); }
static int p_neighbour_abstract(void) { return unix_connect(aim("PROBE_SECRET"), 1); }

// Outside there is no metadata service to be found, so the control makes one of its own, in a network of its own.
static int p_metadata(void) {
	if (control) {
		struct ifreq r = {.ifr_name = "lo:1"};
		struct sockaddr_in *a = (void *)&r.ifr_addr;
		a->sin_family = AF_INET;
		inet_pton(AF_INET, "169.254.169.254", &a->sin_addr);
		if (unshare(CLONE_NEWNET)) return -1;
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		if (fd < 0 || ioctl(fd, SIOCSIFADDR, &r)) return -1;
		struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
		if (ioctl(fd, SIOCSIFFLAGS, &up)) return -1;
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(80)};
		if (bind(fd, (void *)&in, sizeof in) || listen(fd, 1)) return -1;
	}
	return reach("169.254.169.254", 80);
}
// An interface other than lo that is there to be used.
static int p_interfaces(void) {
	struct if_nameindex *list = if_nameindex();
	for (struct if_nameindex *i = list; i && i->if_index; i++) {
		if (strcmp(i->if_name, "lo") && strncmp(i->if_name, "sit", 3) && strncmp(i->if_name, "tunl", 4) &&
		    strncmp(i->if_name, "ip6tnl", 6) && strncmp(i->if_name, "gre", 3) && strncmp(i->if_name, "erspan", 6)) {
			return 0;
		}
	}
	return refused(ENODEV);
}

const struct probe socket_probes[] = {
	P(packet), P(raw), P(raw6), P(ping), P(vsock), P(alg), P(xdp), P(netfilter), P(xfrm), P(audit), P(uevent),
	P(generic_netlink), P(key_socket), P(rare_families), P(net_admin), P(so_mark), P(transparent), P(bind_device),
	P(loopback), P(loopback_alias), P(any_address), P(host_address), P(loopback6), P(mapped6), P(neighbour_tcp),
	P(postgres_socket), P(daemon_socket), P(docker_socket), P(dbus_socket), P(abstract_socket), P(neighbour_abstract),
	P(metadata), P(interfaces), {0},
};
