"use strict";
// The page's trained model, out of the half-precision weights in it: window.hvae.
// Levels count from 0, as in the names of the weights: level t holds z_(t+1), the last is the top.
window.hvae = (() => {
  const held = JSON.parse(document.getElementById("explorer-model").textContent);
  const { latent, labels, kl } = held, top = held.levels - 1;

  const bytes = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const half = bits => {  // IEEE 754 binary16, finite
    const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
    return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  };
  const packed = new DataView(bytes(held.weights).buffer), weights = {};
  let offset = 0;
  for (const [name, size] of held.tensors) {
    weights[name] = Float32Array.from({ length: size }, (_, i) =>
      half(packed.getUint16(offset + 2 * i, true)));
    offset += 2 * size;
  }

  const linear = (name, x) => {
    const matrix = weights[name + ".weight"], out = weights[name + ".bias"].slice();
    for (let row = 0, k = 0; row < out.length; row++) {
      let sum = 0;
      for (let column = 0; column < x.length; column++, k++) sum += matrix[k] * x[column];
      out[row] += sum;
    }
    return out;
  };
  const relu = x => x.map(value => Math.max(value, 0));
  const sigmoid = x => x.map(value => 1 / (1 + Math.exp(-value)));

  // The prior's mean one level down; from level 0, the pixels' logits.
  const below = (level, z) =>
    linear(`decoders.${level}.linear_2`, relu(linear(`decoders.${level}.linear_1`, z)));
  // Pixels in [0, 1] from a level, through the means of the levels below it.
  const decode = (level, z) =>
    level ? decode(level - 1, below(level, z)) : sigmoid(below(0, z));
  // The posterior mean of every level, the first one first, from pixels in [0, 1].
  const encode = pixels => {
    const means = [];
    for (let level = 0; level <= top; level++) {
      const hidden = relu(linear(`encoders.${level}.linear`, level ? means[level - 1] : pixels));
      means.push(linear(`encoders.${level}.linear_mu`, hidden));
    }
    return means;
  };
  const normal = () =>  // Box and Muller (1958)
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  // An ancestral draw of every level: z_T from N(0, I), each below around its prior's mean.
  const sample = () => {
    const z = [];
    for (let level = top; level >= 0; level--) {
      const mean = level === top ? new Float32Array(latent) : below(level + 1, z[level + 1]);
      z[level] = mean.map(value => value + normal());
    }
    return z;
  };

  const shades = bytes(held.digits), size = shades.length / labels.length;
  const digits = labels.map((_, i) =>
    Float32Array.from(shades.subarray(i * size, (i + 1) * size), shade => shade / 255));
  return { top, latent, labels, kl, digits, below, decode, encode, sample };
})();
