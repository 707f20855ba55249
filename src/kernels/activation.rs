//! Elementwise functions and sums, written so that the compiler can use vector instructions: no branches, no calls.
//!
//! Each kernel calls them from a function that is compiled for its instruction set. `FMA` says whether that has a fused
//! multiply-add: without one, asking for it would be a call for each number.

#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// eˣ for x ≤ 0: 2ⁿ · e^f with n the nearest whole number to x / ln 2, and a polynomial for e^f, |f| ≤
/// ln 2 / 2: the one of degree 5, with 1 and 1 at its end, whose largest relative error is the smallest (1.05e-7, near a
/// rounding step). Below −87 it is 0, or near enough.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that n · ln 2 is subtracted without rounding.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = fma::<FMA>(x, LOG2_E, ROUND);
    let n = shifted - ROUND;
    let f = fma::<FMA>(n, -LN2_LOW, fma::<FMA>(n, -LN2_HIGH, x));
    let mut p = 0.008_312_52;
    for c in [0.041_890_16, 0.166_671_14, 0.499_992_3, 1.0, 1.0] {
        p = fma::<FMA>(p, f, c);
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    p * power
}

/// GELU with the error function: x · Φ(x) = x/2 · (1 + erf(x / √2)).
///
/// erf by Abramowitz and Stegun, formula 7.1.26 (error at most 1.5e-7).
#[inline(always)]
pub(super) fn gelu<const FMA: bool>(x: f32) -> f32 {
    const P: f32 = 0.327_591_1;
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / fma::<FMA>(P, z, 1.0);
    let mut poly = 1.061_405_4;
    for c in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        poly = fma::<FMA>(poly, t, c);
    }
    // 1 − erf(z), which keeps its digits where erf is near 1.
    let tail = poly * t * exp::<FMA>(-z * z);
    // For x > 0: x/2 · (2 − tail); for x < 0: x/2 · tail.
    let phi = if x < 0.0 { tail } else { 2.0 - tail };
    0.5 * x * phi
}

/// Combines numbers by halves: each step works on many at once, where one after the other would wait for each.
#[inline(always)]
pub(super) fn fold<const N: usize>(mut lanes: [f32; N], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = combine(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf by its Taylor series in double precision.
    fn erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn exp_is_right_to_the_last_digits() {
        for i in 0..87_000 {
            let x = -(i as f32) / 1000.0;
            let (is, should) = (f64::from(exp::<false>(x)), f64::from(x).exp());
            assert!((is - should).abs() <= 3e-7 * should, "{x}: {is} {should}");
        }
        assert!(exp::<false>(-1e30) < 1e-37 && exp::<false>(f32::NEG_INFINITY) < 1e-37);
        assert_eq!(exp::<true>(0.0), 1.0);
    }

    #[test]
    fn gelu_is_right_to_single_precision() {
        for i in -4000..4000 {
            let x = i as f32 / 1000.0;
            let should = 0.5 * f64::from(x) * (1.0 + erf(f64::from(x) / std::f64::consts::SQRT_2));
            assert!((f64::from(gelu::<false>(x)) - should).abs() < 1e-6, "{x}: {} {should}", gelu::<false>(x));
        }
        assert_eq!((gelu::<true>(30.0), gelu::<true>(-30.0).abs() < 1e-30, gelu::<true>(0.0)), (30.0, true, 0.0));
        assert!(gelu::<true>(f32::NAN).is_nan());
    }
}
