/* Numbers, as they are shown. */

export function signed(value) {
  return (value < 0 ? "−" : "+") + shown(Math.abs(value));
}

/* Three digits, without an exponent where that reads well. */
export function shown(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    return value.toExponential(1).replace("-", "−");
  }
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toFixed(digits).replace("-", "−");
}

export function percent(fraction) {
  const whole = fraction < 0.0005 || (fraction >= 0.0995 && fraction < 0.995) || fraction >= 0.9995;
  return `${(100 * fraction).toFixed(whole ? 0 : 1)} %`;
}

export function milliseconds(time) {
  return time >= 1000 ? `${(time / 1000).toFixed(1)} s` : `${time.toFixed(time < 10 ? 1 : 0)} ms`;
}

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1)} MB`;

export const sum = (values) => values.reduce((a, b) => a + b, 0);

export const product = (values) => values.reduce((a, b) => a * b, 1);

export function softmax(scores) {
  const top = Math.max(...scores);
  const powers = Array.from(scores, (score) => Math.exp(score - top));
  const total = sum(powers);
  return powers.map((power) => power / total);
}

export function indexOfLargest(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}
