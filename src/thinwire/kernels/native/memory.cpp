// Large results in huge pages, where the system leaves that to programs: their first writing costs a fifth of what it
// costs in small ones.
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

// Does nothing for less than 4 MiB.
extern "C" __attribute__((visibility("default"))) void thinwire_huge_pages(void* start, int64_t bytes) {
#if defined(MADV_HUGEPAGE)
    if (bytes < 1 << 22) return;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = ((uintptr_t)start + (uintptr_t)bytes) & ~(page - 1);
    const uintptr_t from = ((uintptr_t)start + page - 1) & ~(page - 1);
    if (from < end) (void)madvise((void*)from, end - from, MADV_HUGEPAGE);  // advice: nothing is lost if it is refused
#else
    (void)start, (void)bytes;
#endif
}
