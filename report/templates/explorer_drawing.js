"use strict";
// A digit drawn by hand with mouse, finger or pen: window.hvae.listenToStrokes and .centred.
// Pixels lie in [0, 1], row by row; a place is [across, down] in pixels from the corner.
Object.assign(window.hvae, (() => {
  const { digits } = window.hvae, side = Math.sqrt(digits[0].length);
  const RADIUS = Math.max(0.5, side / 28);  // two pixels wide on MNIST, one on digits of 8 × 8
  const share = value => Math.max(0, Math.min(1, value));

  // How much of each pixel a stroke from a to b covers; its edge is a pixel soft.
  const drawStroke = (pixels, [ax, ay], [bx, by]) => {
    const across = bx - ax, down = by - ay, squared = across ** 2 + down ** 2 || 1;
    for (let i = 0; i < pixels.length; i++) {
      const x = i % side + 0.5 - ax, y = Math.floor(i / side) + 0.5 - ay;
      const along = share((x * across + y * down) / squared);
      const covered = share(RADIUS + 0.5 - Math.hypot(x - along * across, y - along * down));
      pixels[i] = Math.max(pixels[i], covered);
    }
  };
  // Draws what a pointer does on a canvas into its pixels and calls changed(whether it goes on).
  const listenToStrokes = (canvas, pixels, changed) => {
    let last = null;
    const place = event => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
        .map(value => side * value);
    };
    const go = event => {
      const next = place(event);
      drawStroke(pixels, last || next, next);
      last = next;
      changed(true);
    };
    canvas.addEventListener("pointerdown", event => {
      if (!event.isPrimary || event.button) return;  // neither a second finger nor a menu
      canvas.setPointerCapture(event.pointerId);
      last = null;
      go(event);
    });
    canvas.addEventListener("pointermove", event => {
      if (canvas.hasPointerCapture(event.pointerId)) go(event);
    });
    canvas.addEventListener("lostpointercapture", () => changed(false));
  };

  const massCentre = pixels => {
    let mass = 0, across = 0, down = 0;
    pixels.forEach((value, i) => {
      mass += value;
      across += value * (i % side);
      down += value * Math.floor(i / side);
    });
    return mass ? [across / mass, down / mass] : null;
  };
  const centres = digits.map(massCentre).filter(Boolean);
  const usual = [0, 1].map(axis => centres.reduce((sum, c) => sum + c[axis] / centres.length, 0));
  // The pixels moved, by whole ones, until their mass lies where that of the test digits does.
  const centred = pixels => {
    const centre = massCentre(pixels);
    if (!centre) return pixels.slice();
    const [right, down] = centre.map((value, axis) => Math.round(usual[axis] - value));
    return pixels.map((_, i) => {
      const x = i % side - right, y = Math.floor(i / side) - down;
      return x >= 0 && x < side && y >= 0 && y < side ? pixels[y * side + x] : 0;
    });
  };
  return { listenToStrokes, centred };
})());
