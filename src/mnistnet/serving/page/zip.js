// A zip file without compression, as PKWARE's APPNOTE.TXT lays it down: PNG is compressed already.

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

/**
 * Pack files.
 *
 * @param {{name: string, content: Uint8Array}[]} files
 * @returns {Blob}
 */
export function zip(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, content } of files) {
    const path = new TextEncoder().encode(name);
    // Version 2.0, names in UTF-8, stored, 1980-01-01; CRC-32, sizes, length of the name.
    const common = [20, 0x800, 0, 0, 0x21];
    const sizes = [crc32(content), content.length, content.length];
    const header = fields([0x04034b50], common, sizes, [path.length, 0]);
    const entry = fields([0x02014b50], [20, ...common], sizes, [path.length, 0, 0, 0, 0]);
    directory.push(entry, fields([0, offset]), path);
    parts.push(header, path, content);
    offset += header.length + path.length + content.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = [0, 0, files.length, files.length];
  const end = fields([0x06054b50], count, [size, offset], [0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Write lists of numbers, in turn of 32 and of 16 bits, least byte first. */
function fields(...lists) {
  const bytes = lists.flatMap((list, i) => {
    return list.flatMap((n) => [n, n >>> 8, n >>> 16, n >>> 24].slice(0, i % 2 ? 2 : 4));
  });
  return Uint8Array.from(bytes);
}

function crc32(content) {
  let crc = ~0;
  for (const byte of content) crc = CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}
