/* NumPy's files of one array. */

const TYPES = {
  f4: Float32Array, f8: Float64Array, i1: Int8Array, i2: Int16Array, i4: Int32Array, i8: BigInt64Array,
  u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, u8: BigUint64Array, b1: Uint8Array,
};

/* {shape, data}, the numbers as they are stored. */
export function readArray(buffer) {
  const bytes = new Uint8Array(buffer);
  if (String.fromCharCode(...bytes.subarray(1, 6)) !== "NUMPY") {
    throw new Error("not a .npy file");
  }
  const view = new DataView(buffer);
  const [start, size] = bytes[6] === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder().decode(bytes.subarray(start, start + size));
  const [, order, type] = header.match(/'descr': '([<>|=]?)(\w+)'/) ?? [];
  if (!(type in TYPES) || order === ">" || /'fortran_order': True/.test(header)) {
    throw new Error("only plain .npy arrays of numbers, little-endian and in C order, are read");
  }
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(",").filter((dim) => dim.trim()).map(Number);
  return { shape, data: new TYPES[type](buffer.slice(start + size)) };
}
