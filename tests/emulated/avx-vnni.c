// Makes V8 use an instruction of AVX-VNNI (EMULATED=unsigned, VPDPBUSD) or AVX-VNNI-INT8 (EMULATED=signed, VPDPBSSD) on
// a processor that has neither, and computes it when the processor refuses it. Loaded by Node as an add-on:
//
//     cc -shared -fPIC -O2 avx-vnni.c -o avx-vnni.node
//
// SUPPORTED_AT is the address of V8's set of supported features; it and the bits below belong to one version of Node.

#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { AVX_VNNI = 7, AVX_VNNI_INT8 = 8 }; // of V8's enum CpuFeature
enum { VEX_3_BYTES = 0xc4, OPCODE_MAP_0F38 = 2, DOT_PRODUCT = 0x50, PREFIX_66 = 1, PREFIX_F2 = 3, LENGTH = 5 };

static unsigned long count;
static int has_protection_keys;

static int8_t *xmm(ucontext_t *context, int number) {
  return (int8_t *)&context->uc_mcontext.fpregs->_xmm[number];
}

// Computes the instruction that was refused, if it is one of the two with 128-bit registers only.
static void compute(int signal_number, siginfo_t *info, void *context_pointer) {
  (void)info;
  // V8 guards its code by a protection key, where there are some, and a signal handler starts without it.
  if (has_protection_keys) __asm__ volatile("wrpkru" ::"a"(0), "c"(0), "d"(0));
  ucontext_t *context = context_pointer;
  const uint8_t *code = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
  int prefix = code[2] & 3, is_wide = code[2] & 0x84, is_register = code[4] >> 6 == 3;
  if (code[0] != VEX_3_BYTES || (code[1] & 0x1f) != OPCODE_MAP_0F38 || is_wide || code[3] != DOT_PRODUCT ||
      (prefix != PREFIX_66 && prefix != PREFIX_F2) || !is_register) {
    fprintf(stderr, "avx-vnni: unknown instruction %02x %02x %02x %02x %02x\n", code[0], code[1], code[2], code[3], code[4]);
    signal(signal_number, SIG_DFL);
    return;
  }
  // VEX stores the high bits of register numbers, and the whole of the first operand's, inverted.
  int to = (code[4] >> 3 & 7) | (code[1] & 0x80 ? 0 : 8);
  int first = ~code[2] >> 3 & 15;
  int second = (code[4] & 7) | (code[1] & 0x20 ? 0 : 8);
  int32_t sums[4];
  memcpy(sums, xmm(context, to), sizeof sums);
  for (int i = 0; i < 16; i++) {
    int8_t byte = xmm(context, first)[i];
    sums[i / 4] += (prefix == PREFIX_F2 ? byte : (uint8_t)byte) * xmm(context, second)[i];
  }
  memcpy(xmm(context, to), sums, sizeof sums);
  context->uc_mcontext.gregs[REG_RIP] += LENGTH;
  count++;
}

static void report(void) { fprintf(stderr, "avx-vnni: %lu instructions\n", count); }

// What Node calls when it loads an add-on.
void *napi_register_module_v1(void *environment, void *exports) {
  (void)environment;
  const char *at = getenv("SUPPORTED_AT"), *emulated = getenv("EMULATED");
  if (!at || !emulated) {
    fprintf(stderr, "avx-vnni: SUPPORTED_AT and EMULATED are not set\n");
    exit(2);
  }
  uint32_t *supported = (uint32_t *)strtoul(at, NULL, 16);
  *supported |= 1u << (strcmp(emulated, "signed") ? AVX_VNNI : AVX_VNNI_INT8);
  unsigned eax, ebx, ecx = 0, edx;
  has_protection_keys = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ecx & bit_OSPKE);
  struct sigaction action = {.sa_sigaction = compute, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  sigaction(SIGILL, &action, NULL);
  atexit(report);
  return exports;
}
