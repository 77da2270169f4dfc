// The runtime behind emulator.h: fibers for threads that wait, guarded memory, survived crashes, a trace of accesses.
#include "emulator.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#undef printf

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// ---- switch stacks: save on the old one what a function must keep, go on with what the new one keeps
extern "C" void cuda_emulator_switch(void** from, void* to) __attribute__((visibility("hidden")));
#ifdef __APPLE__
#define SWITCH "_cuda_emulator_switch"
#define HIDE ".private_extern " SWITCH "\n"
#else
#define SWITCH "cuda_emulator_switch"
#define HIDE ".hidden " SWITCH "\n"
#endif
#if defined(__x86_64__)
asm(".text\n.globl " SWITCH "\n" HIDE SWITCH ":\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
constexpr int kSaved = 8, kReturn = 6;  // words on a new stack, and where among them stands the function to start
#elif defined(__aarch64__)
asm(".text\n.p2align 2\n.globl " SWITCH "\n" HIDE SWITCH ":\n"
    "sub sp, sp, #160\nstp x19, x20, [sp]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\nstp x25, x26, [sp, #48]\n"
    "stp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\nstp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\n"
    "stp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\nmov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
    "ldp x19, x20, [sp]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\n"
    "ldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\nldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\n"
    "ldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\nadd sp, sp, #160\nret\n");
constexpr int kSaved = 20, kReturn = 11;
#else
#error "the emulator knows x86-64 and arm64 processors only"
#endif

namespace cuda_emulator {
constexpr int kThreads = 1024, kShared = 48 << 10;
constexpr size_t kStack = 1 << 20;  // bytes a fiber; the lower half stays unmapped, so that a deep stack is noticed
constexpr size_t kGuard = 1 << 20;  // unmapped bytes around an allocation

// ---- errors
char message[600];                 // Korean, of the first failure since the last reset
cudaError_t last, sticky;          // a kernel's fault stays, as it does on a GPU; a refused call is told once
cudaError_t fail(cudaError_t code, const char* format, ...) __attribute__((format(printf, 2, 3)));
cudaError_t fail(cudaError_t code, const char* format, ...) {
  if (!message[0]) {
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
  }
  if (code >= cudaErrorIllegalAddress && !sticky) sticky = code;
  return last = code;
}

// ---- memory: an allocation ends where unmapped pages begin, so that an access beyond it is caught at once
constexpr unsigned char kFill = 0xFF, kEdge = 0xA5;  // a NaN inside; what may not change around it
struct Memory {
  char *pages, *user;
  size_t page_bytes, bytes;  // of the pages that are mapped, of the allocation
  int number;
  bool managed;
  Memory* next;
};
Memory* heap;
int memories, live;
bool host_memory;  // whether kernels may follow pointers to the host's memory
size_t page() {
  static size_t bytes = size_t(sysconf(_SC_PAGESIZE));
  return bytes;
}
Memory* owner(const void* p) {  // the allocation in or around which p lies
  for (Memory* m = heap; m; m = m->next)
    if ((char*)p >= m->pages - kGuard && (char*)p < m->pages + m->page_bytes + kGuard) return m;
  return nullptr;
}
void open(Memory* m, bool yes) {  // the host cannot touch the device's memory
  if (!m->managed) mprotect(m->pages, m->page_bytes, yes ? PROT_READ | PROT_WRITE : PROT_NONE);
}
long written_outside(Memory* m) {  // the word next to the allocation that has changed, from its start; 0 if none
  long bytes = long(m->bytes), before = m->user - m->pages, end = long(m->page_bytes) - before, first = 0;
  for (long i = bytes; i < end; i++)
    if ((unsigned char)m->user[i] != kEdge) return i / 4 * 4 < bytes ? bytes : i / 4 * 4;
  for (long i = -1; i >= -before && (!first || first == i + 1); i--)
    if ((unsigned char)m->user[i] != kEdge) first = i;
  return first - (first % 4 + 4) % 4;
}
cudaError_t allocate(void** p, size_t bytes, bool managed) {
  if (sticky) return sticky;
  *p = nullptr;
  if (!bytes) return cudaSuccess;
  size_t rounded = (bytes + 15) & ~size_t(15), mapped = (rounded + page() - 1) / page() * page();
  if (rounded < bytes) return fail(cudaErrorMemoryAllocation, "cudaMalloc가 %zu바이트를 얻지 못했으니 크기를 확인하세요.", bytes);
  void* all = mmap(nullptr, mapped + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (all == MAP_FAILED) return fail(cudaErrorMemoryAllocation, "cudaMalloc가 %zu바이트를 얻지 못했으니 크기를 확인하세요.", bytes);
  auto m = static_cast<Memory*>(malloc(sizeof(Memory)));  // not new: programs are linked without the C++ library
  *m = {(char*)all + kGuard, nullptr, mapped, bytes, memories++, managed, heap};
  m->user = m->pages + mapped - rounded;
  mprotect(m->pages, mapped, PROT_READ | PROT_WRITE);
  memset(m->pages, kEdge, mapped);
  memset(m->user, kFill, bytes);
  open(m, false);
  heap = m, live++;
  *p = m->user;
  return cudaSuccess;
}
cudaError_t release(void* p) {
  for (Memory** at = &heap; *at; at = &(*at)->next) {
    Memory* m = *at;
    if (m->user != p) continue;
    *at = m->next, live--;
    munmap(m->pages - kGuard, m->page_bytes + 2 * kGuard);
    free(m);
    return sticky;
  }
  return p ? fail(cudaErrorInvalidValue, "cudaFree에 cudaMalloc으로 얻지 않은 포인터가 왔으니, 포인터와 두 번 해제하지 않았는지 확인하세요.") : sticky;
}
bool fits(const void* p, size_t bytes, bool device) {  // whether p is memory of that kind with so many bytes
  Memory* m = owner(p);
  if (device) return m && (char*)p >= m->user && (char*)p + bytes <= m->user + m->bytes;
  return !m || m->managed;
}
cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (sticky) return sticky;
  bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyDefault) to_device = owner(to), from_device = owner(from);
  if (bytes && (!fits(to, bytes, to_device) || !fits(from, bytes, from_device)))
    return fail(cudaErrorInvalidValue, "cudaMemcpy의 인수가 맞지 않으니 두 포인터의 순서, 복사할 바이트 수(원소 수가 아님), 방향(%s)을 확인하세요.",
                kind == cudaMemcpyHostToDevice ? "HostToDevice" : kind == cudaMemcpyDeviceToHost ? "DeviceToHost" : kind == cudaMemcpyDeviceToDevice ? "DeviceToDevice" : "그 밖");
  Memory *a = owner(to), *b = owner(from);
  if (a) open(a, true);
  if (b) open(b, true);
  memmove(to, from, bytes);
  if (a) open(a, false);
  if (b) open(b, false);
  return cudaSuccess;
}

// ---- threads
enum State { kReady, kAtBlock, kAtWarp, kDone };
struct Thread {
  State state;
  int fiber, line;  // of the barrier where it waits
  unsigned mask, votes;
  int from, epoch, warp_epoch;  // the lane it asks; how many block and warp barriers it has passed
  uint64_t shown, received;
};
Thread threads[kThreads];
char* stacks;
void* tops[kThreads + 1];  // the stack pointer of each fiber that does not run
int fibers, idle[kThreads + 1], idles;
void* scheduler;
int order[kThreads], count, started;  // in which the threads begin; how many there are and have begun
int current, here;                    // the running thread and its fiber
bool in_kernel;
void (*kernel_call)(void*);
void* kernel_data;
alignas(128) char arena[kShared];
size_t arena_top;
int launches, schedule;  // schedule: 0 in order, -1 backwards, n > 0 a random order
uint64_t random_state;

struct Where { char text[160]; };
void put(char* to, size_t size, uint3 i, dim3 n) {
  if (n.y * n.z == 1) snprintf(to, size, "%u", i.x);
  else if (n.z == 1) snprintf(to, size, "(%u, %u)", i.x, i.y);
  else snprintf(to, size, "(%u, %u, %u)", i.x, i.y, i.z);
}
uint3 index_of(int t) { return {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)}; }
Where where(int t) {
  Where w;
  char block[60], thread[60];
  put(block, sizeof block, blockIdx, gridDim), put(thread, sizeof thread, index_of(t), blockDim);
  snprintf(w.text, sizeof w.text, "블록 %s의 스레드 %s", block, thread);
  return w;
}
Where subject() {  // the running thread, with the particle that its last digit asks for
  Where w = where(current);
  uint3 i = index_of(current);
  unsigned last = (blockDim.z > 1 ? i.z : blockDim.y > 1 ? i.y : i.x) % 10;
  strcat(w.text, last == 2 || last == 4 || last == 5 || last == 9 ? "가" : "이");
  return w;
}

// ---- crashes: a fault of the learner's code ends that code, not the process
constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGVTALRM};
constexpr int kKinds = sizeof kSignals / sizeof *kSignals;
struct sigaction before[kKinds];
sigjmp_buf* escape;  // where to go on
pthread_t runner;
volatile sig_atomic_t busy, late;  // busy: in the runtime's own bookkeeping, which must not be left halfway
double seconds = 10;               // of CPU time for a call from Python
bool crashed;                      // in host code

void give_up() { siglongjmp(*escape, 1); }
void time_up() {
  if (in_kernel)
    fail(cudaErrorLaunchTimeout, "커널이 CPU 시간 %g초 안에 끝나지 않아 멈췄으니(%s), 끝나지 않는 반복이나 서로 기다리는 스레드가 없는지 확인하세요.", seconds, where(current).text);
  else
    fail(cudaErrorLaunchTimeout, "호스트 코드가 CPU 시간 %g초 안에 끝나지 않아 멈췄으니 끝나지 않는 반복이 없는지 확인하세요.", seconds);
}
void out_of_bounds(Memory* m, const void* p, const char* what, int line) {
  char at[40] = "";
  if (line) snprintf(at, sizeof at, "%d번째 줄에서 ", line);
  fail(cudaErrorIllegalAddress, "%s %s%zu바이트 할당의 바깥(바이트 위치 %ld)%s, 인덱스를 원소 수와 비교하는 조건을 확인하세요.",
       subject().text, at, m->bytes, long((char*)p - m->user), what);
}
void explain(int number, void* address) {
  Memory* m = number == SIGSEGV || number == SIGBUS ? owner(address) : nullptr;
  if (number == SIGVTALRM) {
    time_up();
  } else if (in_kernel && number == SIGFPE) {
    fail(cudaErrorLaunchFailure, "%s 정수를 0으로 나눴으니 나누는 수를 확인하세요.", subject().text);
  } else if (in_kernel && m) {
    out_of_bounds(m, address, "을 읽거나 썼으니", 0);
  } else if (in_kernel && (char*)address >= stacks && (char*)address < stacks + (kThreads + 1) * kStack) {
    fail(cudaErrorLaunchFailure, "%s의 스택이 넘쳤으니 지역 배열의 크기나 끝나지 않는 재귀를 확인하세요.", where(current).text);
  } else if (in_kernel) {
    fail(cudaErrorIllegalAddress, "%s 잘못된 주소를 읽거나 썼으니 포인터와 인덱스를 확인하세요.", subject().text);
  } else if (m) {
    fail(cudaErrorIllegalAddress, "호스트 코드가 장치 메모리를 직접 읽거나 썼으니 cudaMemcpy로 옮기거나 커널에서 쓰세요.");
  } else {
    fail(cudaErrorIllegalAddress, number == SIGFPE ? "호스트 코드가 정수를 0으로 나눴으니 나누는 수를 확인하세요."
                                                   : "호스트 코드가 잘못된 주소를 읽거나 썼으니 포인터와 배열의 크기를 확인하세요.");
  }
}
void on_signal(int number, siginfo_t* info, void*) {
  if (!escape || !pthread_equal(pthread_self(), runner)) {
    if (number == SIGVTALRM) {
      if (escape) pthread_kill(runner, number);
      return;
    }
    for (int i = 0; i < kKinds; i++)  // not ours: the instruction faults again and meets the former handler
      if (kSignals[i] == number) sigaction(number, &before[i], nullptr);
    return;
  }
  if (number == SIGVTALRM && busy) {
    late = 1;
    return;
  }
  explain(number, info->si_addr);
  give_up();
}
struct Busy {  // the time limit waits for its end
  Busy() { busy = busy + 1; }
  ~Busy() {
    busy = busy - 1;
    if (late && !busy) late = 0, time_up(), give_up();
  }
};
bool protect(void (*body)(void*), void* data) {
  sigjmp_buf place;
  sigjmp_buf* outer = escape;
  static char alternate[64 << 10];
  stack_t mine{}, old;
  itimerval none{}, limit{}, timer;
  if (!outer) {
    mine.ss_sp = alternate, mine.ss_size = sizeof alternate;
    sigaltstack(&mine, &old);
    runner = pthread_self(), busy = late = 0;
    struct sigaction action {};
    action.sa_sigaction = on_signal, action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < kKinds; i++) sigaction(kSignals[i], &action, &before[i]);
    limit.it_value.tv_sec = time_t(seconds), limit.it_value.tv_usec = suseconds_t((seconds - double(time_t(seconds))) * 1e6);
    limit.it_interval.tv_usec = 100000;  // again, should the first have come at a bad moment
    setitimer(ITIMER_VIRTUAL, &limit, &timer);
  }
  volatile bool ended = false;
  if (!sigsetjmp(place, 1)) {
    escape = &place;
    body(data);
    ended = true;
  }
  escape = outer;
  if (!outer) {
    setitimer(ITIMER_VIRTUAL, &none, nullptr);
    for (int i = 0; i < kKinds; i++) sigaction(kSignals[i], &before[i], nullptr);
    sigaltstack(&old, nullptr);
    if (!ended) crashed = true;
  }
  return ended;
}

// ---- fibers: new threads are plain calls in a loop; one that has to wait keeps that stack, another goes on
void enter(int t) { current = t, threadIdx = index_of(t); }
void fiber_main() {
  for (;;) {
    while (started < count) {
      int t = order[started++];
      threads[t].fiber = here;
      enter(t);
      kernel_call(kernel_data);
      threads[current].state = kDone;
    }
    idle[idles++] = here;
    cuda_emulator_switch(&tops[here], scheduler);
  }
}
int free_fiber() {
  if (idles) return idle[--idles];
  if (!stacks) stacks = (char*)mmap(nullptr, (kThreads + 1) * kStack, PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
  char* bottom = stacks + size_t(fibers) * kStack;
  mprotect(bottom + kStack / 2, kStack / 2, PROT_READ | PROT_WRITE);
  // Not all stacks in the same cache sets; the saved words end at a multiple of 16.
  auto top = reinterpret_cast<uint64_t*>(bottom + kStack - 64 - size_t(fibers) % 61 * 192);
  uint64_t* saved = top - kSaved;
  memset(saved, 0, kSaved * sizeof *saved);
  saved[kReturn] = reinterpret_cast<uint64_t>(&fiber_main);
  tops[fibers] = saved;
  return fibers++;
}
void wait(State state) {
  int me = current, mine = here;
  threads[me].state = state;
  if (started < count) here = free_fiber(), cuda_emulator_switch(&tops[mine], tops[here]);
  else cuda_emulator_switch(&tops[mine], scheduler);
  here = mine;
  enter(me);
}
bool release_warp(int first, unsigned mask) {  // whether all lanes of the mask have arrived; then they go on
  Thread* warp = threads + first;
  auto waits = [&](int l) { return first + l < count && warp[l].state == kAtWarp && warp[l].mask == mask; };
  unsigned waiting = 0, votes = 0;
  for (int l = 0; l < 32; l++) {
    if (waits(l)) waiting |= 1u << l, votes |= unsigned(warp[l].shown != 0) << l;
    else if ((mask >> l & 1) && first + l < count && warp[l].state != kDone) return false;
  }
  for (int l = 0; l < 32; l++) {
    if (!(waiting >> l & 1)) continue;
    int from = warp[l].from & 31;
    warp[l].received = warp[waiting >> from & 1 ? from : l].shown, warp[l].votes = votes;
    warp[l].state = kReady, warp[l].warp_epoch++;
  }
  return true;
}
void explain_stuck() {
  char text[400] = "";
  int parts = 0;
  for (int t = 0; t < count && parts < 3; t++) {
    Thread &a = threads[t], &b = threads[t ? t - 1 : 0];
    if (t && a.state == b.state && a.line == b.line) continue;
    size_t n = strlen(text);
    char thread[60];
    put(thread, sizeof thread, index_of(t), blockDim);
    const char* comma = parts++ ? ", " : "";
    if (a.state == kAtBlock) snprintf(text + n, sizeof text - n, "%s스레드 %s부터는 %d번째 줄의 __syncthreads()", comma, thread, a.line);
    else snprintf(text + n, sizeof text - n, "%s스레드 %s부터는 %s", comma, thread, a.state == kDone ? "이미 끝남" : "워프 연산");
  }
  char block[60];
  put(block, sizeof block, blockIdx, gridDim);
  fail(cudaErrorLaunchFailure, "블록 %s의 스레드가 서로 다른 곳에서 기다려 멈췄으니(%s) 모든 스레드가 같은 줄의 장벽을 지나게 하세요.", block, text);
}
bool release() {  // decide who goes on; false when every thread is done or stuck
  bool any = false, same = true;
  int line = 0, stuck = 0;
  for (int t = 0; t < count; t++) {
    Thread& th = threads[t];
    stuck += th.state != kDone;
    if (th.state == kReady) any = true;
    if (th.state == kAtBlock) same &= !line || th.line == line, line = th.line;
    if (th.state == kAtWarp) same = false, any |= release_warp(t & ~31, th.mask);
  }
  if (any || !stuck) return any;
  if (!line || !same) return explain_stuck(), false;
  for (int t = 0; t < count; t++)
    if (threads[t].state == kAtBlock) threads[t].state = kReady, threads[t].epoch++;
  return true;
}
uint32_t random_below(uint32_t n) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return uint32_t(random_state >> 33) % n;
}
void permute(int* a, int n) {
  for (int i = 0; i < n; i++) a[i] = schedule < 0 ? n - 1 - i : i;
  for (int i = n - 1; schedule > 0 && i > 0; i--) {
    int j = int(random_below(uint32_t(i + 1))), x = a[i];
    a[i] = a[j], a[j] = x;
  }
}
void forget_repeats();
struct Blocks { int n, *todo; };
void run_blocks(void* data) {
  auto blocks = static_cast<Blocks*>(data);
  for (int i = 0; i < blocks->n; i++) {
    unsigned b = unsigned(blocks->todo[i]);
    permute(order, count);
    blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
    memset(arena, kFill, i ? arena_top : sizeof arena);  // NaN, not zeros that help by luck
    memset(threads, 0, sizeof(Thread) * size_t(count));
    forget_repeats();
    started = 0;
    here = free_fiber();
    in_kernel = true;
    cuda_emulator_switch(&scheduler, tops[here]);
    while (release())
      for (int k = 0; k < count; k++)
        if (threads[order[k]].state == kReady) here = threads[order[k]].fiber, cuda_emulator_switch(&scheduler, tops[here]);
    if (sticky) give_up();
  }
}
void run(dim3 grid, dim3 block, size_t shared, void (*call)(void*), void* data) {
  static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;  // TensorFlow runs an op in any of its threads
  if (sticky) return;
  size_t n = size_t(block.x) * block.y * block.z, blocks = size_t(grid.x) * grid.y * grid.z;
  if (n < 1 || n > kThreads || block.z > 64 || blocks < 1 || blocks > 0x7fffffff || grid.y > 65535 || grid.z > 65535) {
    fail(cudaErrorInvalidConfiguration, "커널을 그리드 (%u, %u, %u), 블록 (%u, %u, %u)로 시작할 수 없으니, 블록의 스레드를 1개에서 1024개로, 블록을 1개 이상으로 고치세요.",
         grid.x, grid.y, grid.z, block.x, block.y, block.z);
    return;
  }
  if (shared > kShared) {
    fail(cudaErrorInvalidValue, "블록에 공유 메모리 %zu바이트를 줄 수 없으니 49152바이트 이하로 줄이세요.", shared);
    return;
  }
  pthread_mutex_lock(&one);
  gridDim = grid, blockDim = block, kernel_call = call, kernel_data = data, count = int(n), launches++;
  arena_top = (shared + 127) & ~size_t(127);
  random_state = uint64_t(schedule);
  Blocks todo{int(blocks), static_cast<int*>(malloc(sizeof(int) * blocks))};
  permute(todo.todo, todo.n);
  for (Memory* m = heap; m; m = m->next) open(m, true);
  bool ended = protect(run_blocks, &todo);
  in_kernel = false;
  crashed = false;  // a kernel's fault is an error code
  if (!ended) fibers = idles = 0;  // their stacks are used anew
  for (Memory* m = heap; m; m = m->next) {
    if (long at = written_outside(m))
      fail(cudaErrorIllegalAddress, "커널이 %zu바이트 할당의 바깥(바이트 위치 %ld)에 썼으니 인덱스를 원소 수와 비교하는 조건을 확인하세요(trace=True로 만들면 줄과 스레드도 나옵니다).", m->bytes, at);
    open(m, false);
  }
  free(todo.todo);
  pthread_mutex_unlock(&one);
}
void* allocate_shared(size_t bytes, size_t align) {
  if (align < 16) align = 16;
  arena_top = (arena_top + align - 1) / align * align;
  if (arena_top + bytes > sizeof arena) {
    fail(cudaErrorInvalidValue, "블록의 공유 메모리가 49152바이트를 넘으니 배열을 줄이세요.");
    sticky = cudaErrorInvalidValue;
    give_up();
  }
  void* place = arena + arena_top;
  arena_top += bytes;
  return place;
}
void* dynamic_memory() { return arena; }
int lane() { return current & 31; }
void block_barrier(int line) {
  threads[current].line = line;
  wait(kAtBlock);
}
Shown warp_barrier(unsigned mask, uint64_t value, int from) {
  if (!(mask >> lane() & 1)) {  // undefined on a GPU
    fail(cudaErrorLaunchFailure, "%s 부른 워프 연산의 마스크 0x%x에 그 스레드의 레인 %d이 없으니, 함께 부르는 레인을 모두 마스크에 넣으세요.",
         subject().text, mask, lane());
    give_up();
  }
  Thread& t = threads[current];
  t.mask = mask, t.shown = value, t.from = from;
  wait(kAtWarp);
  return {t.received, t.votes};
}
void check_pointer(const void* p) {
  if (p && !host_memory && !owner(p) && !((char*)p >= arena && (char*)p < arena + kShared))
    fail(cudaErrorIllegalAddress, "커널에 호스트 메모리의 포인터를 넘겼으니 cudaMalloc으로 얻은 포인터를 넘기세요.");
}

// ---- trace: -fsanitize=thread makes the compiler call __tsan_read4 and its relatives before loads and stores
enum Kind { kLoad, kStore, kAtomic };
struct Access {  // trace.py reads it
  int64_t address;  // within its allocation or the block's shared memory
  int32_t block, repeat, epoch, warp_epoch;
  uint16_t launch, line, site, thread, allocation;
  uint8_t bytes, kind, shared, unused[3];
};
static_assert(sizeof(Access) == 40, "trace.py reads it");
Access* trace;
size_t traced, trace_room, trace_limit;
bool trace_on, trace_full;
const Site* sites;
constexpr int kSites = 1024, kSlots = 4096;
struct Place { const void* address; int kind, line, index; };
Place places[kSlots];
int place_count;
int repeats[kSites][kThreads];  // how often a thread of this block was at a site

int register_sites(const Site* table) { return sites = table, 0; }
void forget_repeats() {
  for (int i = 0; trace_on && i < place_count; i++) memset(repeats[i], 0, sizeof(int) * size_t(count));
}
int line_of(const void* address) {
  for (const Site* s = sites; s && s->address; s++)
    if (s->address == address) return int(s->line);
  return 0;
}
Place* place_of(const void* address, Kind kind) {
  size_t at = (size_t(address) * 3 + kind) * 0x9E3779B97F4A7C15u >> 52;
  for (;; at = (at + 1) % kSlots) {
    Place& p = places[at];
    if (p.address == address && p.kind == kind) return &p;
    if (p.address) continue;
    if (place_count == kSites) return nullptr;
    p = {address, kind, line_of(address), place_count++};
    memset(repeats[p.index], 0, sizeof repeats[0]);
    return &p;
  }
}
void record(char* p, int bytes, Kind kind, const void* site) {
  bool in_arena = p >= arena && p < arena + kShared;
  Memory* m = in_arena ? nullptr : owner(p);
  if (!in_arena && !m) return;  // the thread's own stack, and the host's constants
  if (m && (p < m->user || p + bytes > m->user + m->bytes)) {
    out_of_bounds(m, p, kind == kLoad ? "을 읽었으니" : "에 썼으니", line_of(site));
    give_up();
  }
  if (p && size_t(p) % size_t(bytes)) {
    fail(cudaErrorMisalignedAddress, "%s %d번째 줄에서 %d바이트를 그 배수가 아닌 주소(바이트 위치 %ld)에서 읽거나 썼으니 벡터로 바꾼 포인터의 정렬을 확인하세요.",
         subject().text, line_of(site), bytes, long(p - (m ? m->user : arena)));
    give_up();
  }
  if (!trace_on) return;
  Place* place = place_of(site, kind);
  if (!place || traced == trace_limit) {
    trace_full = true;
    return;
  }
  if (traced == trace_room) {
    size_t room = trace_room ? 2 * trace_room : 4096;
    if (room > trace_limit) room = trace_limit;
    auto more = static_cast<Access*>(realloc(trace, room * sizeof(Access)));
    if (!more) {
      trace_full = true;
      return;
    }
    trace = more, trace_room = room;
  }
  const Thread& t = threads[current];
  trace[traced++] = {in_arena ? p - arena : p - m->user,
                     int32_t(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z)),
                     repeats[place->index][current]++, t.epoch, t.warp_epoch,
                     uint16_t(launches), uint16_t(place->line), uint16_t(place->index), uint16_t(current),
                     uint16_t(m ? m->number : 0), uint8_t(bytes), uint8_t(kind), in_arena, {}};
}
void note(const void* p, size_t bytes, Kind kind, const void* site) {
  if (!in_kernel) return;
  Busy guard;
  auto at = (char*)const_cast<void*>(p);
  if (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16) return record(at, int(bytes), kind, site);
  size_t step = bytes % 4 || size_t(p) % 4 ? 1 : 4;  // a struct: word by word, as nvcc does it
  for (size_t i = 0; i < bytes; i += step) record(at + i, int(step), kind, site);
}
void note_copy(void* to, const void* from, int bytes, const void* site) {
  note(from, size_t(bytes), kLoad, site), note(to, size_t(bytes), kStore, site);
}
void note_atomic(void* p, int bytes, const void* site) { note(p, size_t(bytes), kAtomic, site); }

// ---- what kernels and host code print
char* printed;
size_t printed_bytes, printed_room;
}  // namespace cuda_emulator

using namespace cuda_emulator;

int cuda_emulator_printf(const char* format, ...) {
  Busy guard;
  char line[2048];
  va_list values;
  va_start(values, format);
  int n = vsnprintf(line, sizeof line, format, values);
  va_end(values);
  size_t bytes = strlen(line);
  if (printed_bytes + bytes > 1 << 20) return n;  // as on a GPU, whose buffer holds 1 MiB
  if (printed_bytes + bytes + 1 > printed_room) {
    printed_room = 2 * (printed_bytes + bytes + 1);
    printed = static_cast<char*>(realloc(printed, printed_room));
  }
  memcpy(printed + printed_bytes, line, bytes + 1);
  printed_bytes += bytes;
  return n;
}

extern "C" {
#pragma GCC visibility push(hidden)
#define SITE __builtin_return_address(0)
#define HOOK(n) \
  void __tsan_read##n(void* p) { note(p, n, kLoad, SITE); } \
  void __tsan_write##n(void* p) { note(p, n, kStore, SITE); } \
  void __tsan_unaligned_read##n(void* p) { note(p, n, kLoad, SITE); } \
  void __tsan_unaligned_write##n(void* p) { note(p, n, kStore, SITE); } \
  void __tsan_volatile_read##n(void* p) { note(p, n, kLoad, SITE); } \
  void __tsan_volatile_write##n(void* p) { note(p, n, kStore, SITE); } \
  void __tsan_read_write##n(void* p) { note(p, n, kLoad, SITE), note(p, n, kStore, SITE); } \
  void __tsan_unaligned_read_write##n(void* p) { note(p, n, kLoad, SITE), note(p, n, kStore, SITE); }
HOOK(1) HOOK(2) HOOK(4) HOOK(8) HOOK(16)
void __tsan_read_range(void* p, size_t n) { note(p, n, kLoad, SITE); }
void __tsan_write_range(void* p, size_t n) { note(p, n, kStore, SITE); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void* __tsan_memcpy(void* to, const void* from, size_t n) {
  note(from, n, kLoad, SITE), note(to, n, kStore, SITE);
  return memcpy(to, from, n);
}
void* __tsan_memmove(void* to, const void* from, size_t n) {
  note(from, n, kLoad, SITE), note(to, n, kStore, SITE);
  return memmove(to, from, n);
}
void* __tsan_memset(void* to, int v, size_t n) {
  note(to, n, kStore, SITE);
  return memset(to, v, n);
}
#pragma GCC visibility pop

#pragma GCC visibility push(default)
void tf_study_begin() { last = sticky = cudaSuccess, message[0] = 0, crashed = false; }  // a fresh context
void tf_study_reset() {
  tf_study_begin();
  while (heap) release(heap->user);
}
void tf_study_host_memory(int yes) { host_memory = yes; }
void tf_study_schedule(int n) { schedule = n; }
void tf_study_seconds(double s) { seconds = s; }
int tf_study_crashed() { return crashed; }
int tf_study_allocations() { return live; }
int tf_study_fibers() { return fibers; }
const char* tf_study_message() { return message; }
const char* tf_study_printed() { return printed_bytes ? printed : ""; }
void tf_study_forget_printed() { printed_bytes = 0; }
int tf_study_malloc(void** p, size_t bytes) { return allocate(p, bytes, false); }
int tf_study_free(void* p) { return release(p); }
int tf_study_copy(void* to, const void* from, size_t bytes) { return copy(to, from, bytes, cudaMemcpyDefault); }
void tf_study_trace(int64_t limit) {  // 0 ends it and frees the records
  trace_on = limit > 0, trace_full = false, traced = 0, trace_limit = size_t(limit);
  memset(places, 0, sizeof places), place_count = 0;
  if (!trace_on) free(trace), trace = nullptr, trace_room = 0;
}
const void* tf_study_trace_data() { return trace; }
int64_t tf_study_trace_size() { return trace_full ? -1 : int64_t(traced); }
#pragma GCC visibility pop
}

cudaError_t cudaMalloc(void** p, size_t bytes) { return allocate(p, bytes, false); }
cudaError_t cudaMallocManaged(void** p, size_t bytes) { return allocate(p, bytes, true); }
cudaError_t cudaFree(void* p) { return release(p); }
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) { return copy(to, from, bytes, kind); }
cudaError_t cudaMemset(void* p, int value, size_t bytes) {
  if (sticky) return sticky;
  if (!fits(p, bytes, true)) return fail(cudaErrorInvalidValue, "cudaMemset의 인수가 맞지 않으니 장치 포인터와 바이트 수를 확인하세요.");
  Memory* m = owner(p);
  open(m, true), memset(p, value, bytes), open(m, false);
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  cudaError_t error = sticky ? sticky : last;
  last = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return sticky ? sticky : last; }
cudaError_t cudaDeviceSynchronize() { return sticky; }
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorLaunchTimeout: return "cudaErrorLaunchTimeout";
    case cudaErrorMisalignedAddress: return "cudaErrorMisalignedAddress";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
  }
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchTimeout: return "the launch timed out and was terminated";
    case cudaErrorMisalignedAddress: return "misaligned address";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
  }
  return "unrecognized error code";
}
