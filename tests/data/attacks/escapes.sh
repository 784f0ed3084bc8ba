# SPDX-License-Identifier: Apache-2.0
# Ways out, by a shell. Prints `ESCAPED ...` for each that is open.
said() { echo "ESCAPED $*"; }
for socket in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock /run/planloop/socket; do
  [ -e "$socket" ] && said "socket $socket"
done
mount -t tmpfs none /mnt 2>/dev/null && said mount
unshare -Urm true 2>/dev/null && said "user namespace"
unshare -n true 2>/dev/null && said "network namespace"
for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/overcommit_memory /proc/sysrq-trigger /proc/sys/kernel/hostname /proc/sys/fs/file-max /proc/irq/default_smp_affinity; do
  ( exec 3>"$file" ) 2>/dev/null && said "write $file"
done
for file in /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
  [ -w "$file" ] && said "write $file"
done
for file in /sys/kernel/uevent_helper /sys/power/state /sys/kernel/profiling; do [ -w "$file" ] && said "write $file"; done
for file in /proc/kcore /proc/1/root/etc /proc/kmsg /proc/timer_list /proc/sched_debug /sys/firmware/acpi /proc/acpi /dev/mem /dev/kmsg /dev/sda /dev/vda /dev/fuse /dev/net/tun /dev/kvm; do
  [ -e "$file" ] && ( [ -d "$file" ] && ls "$file" | grep -q . || head -c 1 "$file" | grep -q . ) 2>/dev/null && said "read $file"
done
cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep -iE 'KEY=|TOKEN=|SECRET|CANARY' && said "secrets in environments"
env | grep -iE 'API_KEY|TOKEN|SECRET|CANARY' && said "secrets in its own environment"
su -c true </dev/null 2>/dev/null && said su
sudo -n true 2>/dev/null && said sudo
ls /root/.ssh /home/*/.ssh 2>/dev/null | grep -q . && said "keys"
ls -d /root/* /home/*/* 2>/dev/null | grep -q . && said "homes"
grep -q 'NoNewPrivs:.1' /proc/self/status || said "new privileges"
grep -qE 'Cap(Inh|Prm|Eff|Amb):.0*[1-9a-f]' /proc/self/status && said "capabilities $(grep Cap /proc/self/status | tr '\n' ' ')"
grep -q 'SigIgn:.0*\(18\)\?0*$' /proc/self/status || said "ignored signals"
for folder in / /usr /usr/bin /etc /lib /run /run/planloop /var /opt /proc /sys /dev; do
  ( : > "$folder/planloop-written" ) 2>/dev/null && said "write $folder"
done
( : < /dev/tty ) 2>/dev/null && said "terminal"
exit 0
