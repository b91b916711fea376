// Integers, bits and predicates.
#include "elementwise.h"

namespace ptx {
namespace {

template <class T>
using Double = std::conditional_t<sizeof(T) == 2, std::conditional_t<kSigned<T>, i32, u32>,
                                  std::conditional_t<sizeof(T) == 4, std::conditional_t<kSigned<T>, i64, u64>,
                                                     std::conditional_t<kSigned<T>, i128, u128>>>;

// PTX leaves division by 0 undefined. NVIDIA GPUs set all bits of the quotient.
template <class T>
T quotient(T a, T b) {
  if (b == 0) return static_cast<T>(-1);
  return kSigned<T> && b == static_cast<T>(-1) ? static_cast<T>(0 - a) : static_cast<T>(a / b);
}

template <class T>
T remainder(T a, T b) {
  if (b == 0) return a;
  return kSigned<T> && b == static_cast<T>(-1) ? T{0} : static_cast<T>(a % b);
}

template <class T>
void add_comparisons(const std::string& type) {
  add("setp.eq" + type, [](T a, T b) { return a == b; });
  add("setp.ne" + type, [](T a, T b) { return a != b; });
  add("setp.lt" + type, [](T a, T b) { return a < b; });
  add("setp.le" + type, [](T a, T b) { return a <= b; });
  add("setp.gt" + type, [](T a, T b) { return a > b; });
  add("setp.ge" + type, [](T a, T b) { return a >= b; });
}

// Signed and unsigned integers. All arithmetic wraps (-fwrapv).
template <class T>
void add_integers(const std::string& type) {
  add_moves<T>(type);
  add_comparisons<T>(type);
  add("add" + type, [](T a, T b) { return T(a + b); });
  add("sub" + type, [](T a, T b) { return T(a - b); });
  add("mul.lo" + type, [](T a, T b) { return T(a * b); });
  add("mad.lo" + type, [](T a, T b, T c) { return T(a * b + c); });
  add("mul.hi" + type, [](T a, T b) { return T(Double<T>(a) * b >> kBits<T>); });
  add("mad.hi" + type, [](T a, T b, T c) { return T(T(Double<T>(a) * b >> kBits<T>) + c); });
  add("div" + type, [](T a, T b) { return quotient<T>(a, b); });
  add("rem" + type, [](T a, T b) { return remainder<T>(a, b); });
  add("min" + type, [](T a, T b) { return a < b ? a : b; });
  add("max" + type, [](T a, T b) { return a > b ? a : b; });
  add("shr" + type, [](T a, u32 by) {
    if (by >= kBits<T>) return T(kSigned<T> && a < 0 ? -1 : 0);
    return T(a >> by);
  });
  if constexpr (kSigned<T>) {
    add("neg" + type, [](T a) { return T(0 - a); });
    add("abs" + type, [](T a) { return T(a < 0 ? 0 - a : a); });
  } else {
    add("setp.lo" + type, [](T a, T b) { return a < b; });
    add("setp.ls" + type, [](T a, T b) { return a <= b; });
    add("setp.hi" + type, [](T a, T b) { return a > b; });
    add("setp.hs" + type, [](T a, T b) { return a >= b; });
  }
  if constexpr (sizeof(T) < 8) {
    add("mul.wide" + type, [](T a, T b) { return Double<T>(Double<T>(a) * b); });
    add("mad.wide" + type, [](T a, T b, Double<T> c) { return Double<T>(Double<T>(a) * b + c); });
  }
}

// Untyped bits of a given size.
template <class T>
void add_bits(const std::string& type) {
  add_moves<T>(type);
  add("setp.eq" + type, [](T a, T b) { return a == b; });
  add("setp.ne" + type, [](T a, T b) { return a != b; });
  add("and" + type, [](T a, T b) { return T(a & b); });
  add("or" + type, [](T a, T b) { return T(a | b); });
  add("xor" + type, [](T a, T b) { return T(a ^ b); });
  add("not" + type, [](T a) { return T(~a); });
  add("shl" + type, [](T a, u32 by) { return by >= kBits<T> ? T{0} : T(a << by); });
  add("shr" + type, [](T a, u32 by) { return by >= kBits<T> ? T{0} : T(a >> by); });
}

u32 reversed(u32 word) {
  u32 result = 0;
  for (int bit = 0; bit < 32; ++bit) result |= (word >> bit & 1) << (31 - bit);
  return result;
}

// The field of `size` bits at `first`, filled up with zeros.
u32 field(u32 word, u32 first, u32 size) {
  first &= 255, size &= 255;
  const u64 mask = size > 31 ? ~u64{0} : (u64{1} << size) - 1;
  return first > 31 ? 0 : u32(word >> first & mask);
}

i32 signed_field(i32 word, u32 first, u32 size) {
  first &= 255, size &= 255;
  if (size == 0) return 0;
  const u32 last = first + size - 1 < 31 ? first + size - 1 : 31;  // position of the sign bit
  const i32 sign = word >> last & 1 ? -1 : 0;
  if (first > 31) return sign;
  return i32(u32(word) << (31 - last)) >> (31 - last) >> first;
}

u32 with_field(u32 part, u32 word, u32 first, u32 size) {
  first &= 255, size &= 255;
  if (first > 31) return word;
  const u32 mask = (size > 31 ? ~u32{0} : (u32{1} << size) - 1) << first;
  return (word & ~mask) | (part << first & mask);
}

u32 permuted(u32 low, u32 high, u32 selector) {
  const u64 both = u64{high} << 32 | low;
  u32 result = 0;
  for (int byte = 0; byte < 4; ++byte) {
    const u32 which = selector >> 4 * byte & 15;
    const u32 found = both >> 8 * (which & 7) & 255;
    result |= (which & 8 ? (found & 128 ? 255u : 0u) : found) << 8 * byte;
  }
  return result;
}

// Any function of three bits: bit 4 a + 2 b + c of the table is the result.
u32 looked_up(u32 a, u32 b, u32 c, u32 table) {
  u32 result = 0;
  for (int entry = 0; entry < 8; ++entry) {
    const u32 here = (entry & 4 ? a : ~a) & (entry & 2 ? b : ~b) & (entry & 1 ? c : ~c);
    result |= table >> entry & 1 ? here : 0;
  }
  return result;
}

template <class Pair, class F>
u32 in_pairs(u32 a, u32 b, F function) {
  const auto low = u16(function(Pair(a), Pair(b))), high = u16(function(Pair(a >> 16), Pair(b >> 16)));
  return u32{high} << 16 | low;
}

template <class T>
void add_integer_pairs(const std::string& type) {
  add("add" + type, [](u32 a, u32 b) { return in_pairs<T>(a, b, [](T x, T y) { return x + y; }); });
  add("min" + type, [](u32 a, u32 b) { return in_pairs<T>(a, b, [](T x, T y) { return x < y ? x : y; }); });
  add("max" + type, [](u32 a, u32 b) { return in_pairs<T>(a, b, [](T x, T y) { return x > y ? x : y; }); });
}

void add_words() {
  add("clz.b32", [](u32 a) { return u32(a ? __builtin_clz(a) : 32); });
  add("clz.b64", [](u64 a) { return u32(a ? __builtin_clzll(a) : 64); });
  add("popc.b32", [](u32 a) { return u32(__builtin_popcount(a)); });
  add("popc.b64", [](u64 a) { return u32(__builtin_popcountll(a)); });
  add("brev.b32", [](u32 a) { return reversed(a); });
  add("bfind.u32", [](u32 a) { return a ? 31u - __builtin_clz(a) : ~0u; });
  add("bfind.shiftamt.u32", [](u32 a) { return a ? u32(__builtin_clz(a)) : ~0u; });
  add("bfe.u32", [](u32 a, u32 first, u32 size) { return field(a, first, size); });
  add("bfe.s32", [](i32 a, u32 first, u32 size) { return signed_field(a, first, size); });
  add("bfi.b32", [](u32 a, u32 b, u32 first, u32 size) { return with_field(a, b, first, size); });
  add("prmt.b32", [](u32 a, u32 b, u32 selector) { return permuted(a, b, selector); });
  add("lop3.b32", [](u32 a, u32 b, u32 c, u32 table) { return looked_up(a, b, c, table); });
  add("shf.l.wrap.b32",
      [](u32 low, u32 high, u32 by) { return u32((u64{high} << 32 | low) << (by & 31) >> 32); });
  add("shf.r.wrap.b32", [](u32 low, u32 high, u32 by) { return u32((u64{high} << 32 | low) >> (by & 31)); });
  add("shf.l.clamp.b32",
      [](u32 low, u32 high, u32 by) { return u32((u64{high} << 32 | low) << (by < 32 ? by : 32) >> 32); });
  add("shf.r.clamp.b32",
      [](u32 low, u32 high, u32 by) { return u32((u64{high} << 32 | low) >> (by < 32 ? by : 32)); });
  add_integer_pairs<u16>(".u16x2");
  add_integer_pairs<i16>(".s16x2");
  // Conversions between one wide register and two narrow ones. The assembler uses them for vectors in `mov`.
  add("pack.b64", [](u32 low, u32 high) { return u64{high} << 32 | low; });
  add("pack.b32", [](u16 low, u16 high) { return u32{high} << 16 | low; });
  add("pack.b16", [](u8 low, u8 high) { return u16(high << 8 | low); });
  add("low.b64", [](u64 a) { return u32(a); });
  add("high.b64", [](u64 a) { return u32(a >> 32); });
  add("low.b32", [](u32 a) { return u16(a); });
  add("high.b32", [](u32 a) { return u16(a >> 16); });
  add("low.b16", [](u16 a) { return u8(a); });
  add("high.b16", [](u16 a) { return u8(a >> 8); });
}

void add_predicates() {
  add("mov.pred", [](bool a) { return a; });
  add("not.pred", [](bool a) { return !a; });
  add("and.pred", [](bool a, bool b) { return a && b; });
  add("or.pred", [](bool a, bool b) { return a || b; });
  add("xor.pred", [](bool a, bool b) { return a != b; });
}

}  // namespace

void add_integers() {
  add_integers<u16>(".u16");
  add_integers<i16>(".s16");
  add_integers<u32>(".u32");
  add_integers<i32>(".s32");
  add_integers<u64>(".u64");
  add_integers<i64>(".s64");
  add_bits<u16>(".b16");
  add_bits<u32>(".b32");
  add_bits<u64>(".b64");
  add_words();
  add_predicates();
}

}  // namespace ptx
