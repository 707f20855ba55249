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
/// Φ(x) = ½ + x · p(x²) for |x| ≤ 5.4, beyond which it is 0 or 1; p is a polynomial of degree 14 in 2x²/5.4² − 1, whose
/// largest error, times x², is the smallest. Up to |x| = 9 the result is off by less than 1e-6. There is no division and no
/// number so small that the processor would be slow with it.
#[inline(always)]
pub(super) fn gelu<const FMA: bool>(x: f32) -> f32 {
    const END: f32 = 5.4;
    const COEFFICIENTS: [f32; 14] = [
        -0.000_963_656_9,
        0.001_096_506,
        -0.001_369_128_8,
        0.003_410_233_2,
        -0.006_519_183_5,
        0.009_786_118,
        -0.014_063_04,
        0.019_608_794,
        -0.025_722_208,
        0.032_121_055,
        -0.039_209_29,
        0.048_499_398,
        -0.065_327_99,
        0.130_928_13,
    ];
    let near = if x > END { END } else { x };
    let near = if near < -END { -END } else { near };
    let u = fma::<FMA>(near * near, 2.0 / (END * END), -1.0);
    let mut p = 0.000_316_864_23;
    for c in COEFFICIENTS {
        p = fma::<FMA>(p, u, c);
    }
    // A little outside 0 to 1 at the ends.
    let phi = fma::<FMA>(near, p, 0.5);
    let phi = if phi < 0.0 { 0.0 } else { phi };
    let phi = if phi > 1.0 { 1.0 } else { phi };
    x * phi
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
