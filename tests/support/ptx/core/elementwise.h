// Elementwise instructions: each is a function of one lane's values. The types of the function select the
// registers: predicates for `bool`, wide registers for 64-bit types.
#pragma once

#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "machine.h"

namespace ptx {
namespace {  // one copy per file that includes this header

using i8 = std::int8_t;
using u8 = std::uint8_t;
using i16 = std::int16_t;
using u16 = std::uint16_t;
using i32 = std::int32_t;
using u32 = std::uint32_t;
using i64 = std::int64_t;
using u64 = std::uint64_t;
using u128 = unsigned __int128;
using i128 = __int128;

template <class To, class From>
To bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

// The lanes of a register, as values of T.

template <class T>
using Word = std::conditional_t<sizeof(T) == 8, u64, u32>;

template <class T>
Word<T>* lanes(Warp& warp, int place) {
  if constexpr (sizeof(T) == 8)
    return warp.long_words(place);
  else
    return warp.words(place);
}

template <class T>
T value_of(Word<T> word) {
  if constexpr (sizeof(T) == 1)
    return bits<T>(static_cast<u8>(word));
  else if constexpr (sizeof(T) == 2)
    return bits<T>(static_cast<u16>(word));
  else
    return bits<T>(word);
}

template <class T>
Word<T> word_of(T value) {
  if constexpr (sizeof(T) == 1)
    return std::is_signed_v<T> ? u32(i32(value)) : bits<u8>(value);
  else if constexpr (std::is_same_v<T, i16>)
    return u32(i32(value));
  else if constexpr (sizeof(T) == 2)
    return bits<u16>(value);
  else
    return bits<Word<T>>(value);
}

template <class T>
struct Source {
  const Word<T>* words;
  Source(Warp& warp, int place) : words(lanes<T>(warp, place)) {}
  T operator[](int lane) const { return value_of<T>(words[lane]); }
};

template <>
struct Source<bool> {
  Mask mask;
  Source(Warp& warp, int place) : mask(warp.predicates[place]) {}
  bool operator[](int lane) const { return mask >> lane & 1; }
};

// Packs bytes that are 0 or 1 into a mask.
Mask packed(const u8* flags) {
  Mask mask = 0;
  for (int part = 0; part < 4; ++part) {
    u64 eight;
    std::memcpy(&eight, flags + 8 * part, 8);
    mask |= Mask(eight * 0x0102040810204080u >> 56) << 8 * part;
  }
  return mask;
}

template <class F, class R, class... A, std::size_t... I>
void compute(Warp& warp, const Instruction& instruction, Mask active, std::index_sequence<I...>) {
  const std::tuple<Source<A>...> sources{Source<A>(warp, instruction.operands[1 + I])...};
  const int to = instruction.operands[0];
  if constexpr (std::is_same_v<R, bool>) {
    u8 flags[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) flags[lane] = F{}(std::get<I>(sources)[lane]...);
    Mask& answer = warp.predicates[to];
    answer = (answer & ~active) | (packed(flags) & active);
  } else {
    Word<R> results[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) results[lane] = word_of<R>(F{}(std::get<I>(sources)[lane]...));
    Word<R>* words = lanes<R>(warp, to);
    if (active == ~Mask{0}) {
      std::memcpy(words, results, sizeof results);
    } else {
      for (int lane = 0; lane < kLanes; ++lane)
        words[lane] = active >> lane & 1 ? results[lane] : words[lane];
    }
  }
}

template <class T>
constexpr char kind_of = std::is_same_v<T, bool> ? 'p'
                         : sizeof(T) == 8        ? '8'
                                                 : '4';

template <class F, class R, class... A>
void add_function(const std::string& name, R (F::*)(A...) const) {
  const Handler run = [](Warp& warp, const Instruction& instruction, Mask active) {
    compute<F, R, A...>(warp, instruction, active, std::index_sequence_for<A...>());
  };
  const std::string signature{kind_of<R>, kind_of<A>...};
  add_known(name + "/" + std::to_string(signature.size()), {run, signature});
}

// Adds the instruction `name`, defined by a captureless function of one lane's values.
template <class F>
void add(const std::string& name, F) {
  add_function<F>(name, &F::operator());
}

template <class T>
constexpr bool kSigned = std::is_signed_v<T>;

template <class T>
constexpr int kBits = 8 * sizeof(T);

template <class T>
void add_moves(const std::string& type) {
  add("mov" + type, [](T a) { return a; });
  add("selp" + type, [](T a, T b, bool which) { return which ? a : b; });
}

}  // namespace
}  // namespace ptx
