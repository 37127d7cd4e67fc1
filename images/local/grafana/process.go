package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

type processMetric struct {
	name, kind, help string
	value            float64
}

// processMetrics are the usual process_* metrics, as far as /proc shows them.
func processMetrics() []processMetric {
	var found []processMetric
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		text := string(stat)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(fields) > 21 {
			ticks := func(index int) float64 { value, _ := strconv.ParseFloat(fields[index], 64); return value }
			found = append(found,
				processMetric{"process_cpu_seconds_total", "counter", "CPU time.", (ticks(11) + ticks(12)) / 100},
				processMetric{"process_resident_memory_bytes", "gauge", "Resident memory.", ticks(21) * float64(os.Getpagesize())})
			if boot := bootTime(); boot > 0 {
				found = append(found, processMetric{"process_start_time_seconds", "gauge", "Start, as Unix time.", boot + ticks(19)/100})
			}
		}
	}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		found = append(found, processMetric{"process_open_fds", "gauge", "Open file descriptors.", float64(len(entries))})
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		found = append(found, processMetric{"process_max_fds", "gauge", "Most file descriptors.", float64(limit.Cur)})
	}
	return found
}

func bootTime() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, found := strings.CutPrefix(line, "btime "); found {
			value, _ := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			return value
		}
	}
	return 0
}
