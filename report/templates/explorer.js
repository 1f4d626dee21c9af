"use strict";
// The latent explorer: a reader moves the latents of window.hvae and sees what they decode to, or
// draws a digit and sees what becomes of it.
// z holds every level at once; the picture is decoded from the first, the others act through it.
(() => {
  const EXTENT = 3, TILES = 9, ARROW = 0.1, JUMP = 1, DIM = 0.35;
  const { top, latent, labels, kl, digits, below, decode, encode, sample } = window.hvae;
  const { listenToStrokes, centred } = window.hvae;
  const side = Math.sqrt(digits[0].length), sliders = [], drawn = new Float32Array(side * side);
  const find = name => document.getElementById("explorer-" + name);
  const pad = find("pad"), picture = find("picture"), axes = [find("across"), find("up")];
  const zeros = () => kl.map(() => new Float32Array(latent));
  let level = top, z = zeros(), isDrawing = false, isHeld = false, encodeAgain = null, plane = "";
  let samples = 0, before = [];  // how many were drawn; the dimensions of the pad

  const name = () => `z_${level + 1}`;
  const fixed = value => (Math.round(100 * value) / 100 + 0).toFixed(2);  // no minus before a zero
  const text = value => fixed(value).replace("-", "−");
  const clamp = value => Math.max(-EXTENT, Math.min(EXTENT, value));
  const chosen = () => axes.map(axis => Number(axis.value));
  const say = message => {  // once: a screen reader speaks what is written again
    if (find("said").textContent !== message) find("said").textContent = message;
  };
  const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

  // Drawing.
  const draw = (canvas, pixels, left = 0, up = 0) => {
    const context = canvas.getContext("2d"), image = context.createImageData(side, side);
    pixels.forEach((value, i) => {
      image.data.fill(255 * value, 4 * i, 4 * i + 3);
      image.data[4 * i + 3] = 255;
    });
    context.putImageData(image, left, up);
  };
  const drawPlane = () => {  // what the pad's two dimensions hold, as its background
    const [across, up] = chosen(), place = i => EXTENT * ((2 * i + 1) / TILES - 1);
    const others = z[level].map((value, i) => i === across || i === up ? 0 : value);
    const asked = [level, across, up, ...others].join();
    if (asked === plane) return;  // its tiles are most of a frame's work
    plane = asked;
    for (let row = 0; row < TILES; row++) {
      for (let column = 0; column < TILES; column++) {
        const moved = z[level].slice();
        moved[across] = place(column);
        moved[up] = -place(row);
        draw(find("plane"), decode(level, moved), column * side, row * side);
      }
    }
  };
  const drawPoint = () => {
    const [across, up] = chosen(), x = z[level][across], y = z[level][up];
    const percent = value => `${50 + 50 * clamp(value) / EXTENT}%`;
    const place = `dimension ${across + 1}: ${text(x)}, dimension ${up + 1}: ${text(y)}`;
    Object.assign(find("dot").style, { left: percent(x), top: percent(-y) });
    pad.setAttribute("aria-valuenow", fixed(clamp(x)));
    pad.setAttribute("aria-valuetext", place);
    find("place").textContent = place;
  };
  const drawSliders = () => sliders.forEach(({ input, value }, i) => {
    input.value = z[level][i];
    value.textContent = text(z[level][i]);
    input.setAttribute("aria-valuetext", value.textContent);
  });
  const show = () => {  // at most once a frame
    if (isDrawing) return;
    isDrawing = true;
    requestAnimationFrame(() => {
      isDrawing = false;
      draw(find("input"), encodeAgain ? drawn : drawn.map(value => DIM * value));
      draw(picture, decode(0, z[0]));
      drawPoint();
      drawSliders();
      if (!isHeld) drawPlane();  // 81 tiles a frame are too slow for a stroke on a phone
    });
  };

  // What a reader does.
  const settle = () => {  // the levels below follow through the means
    for (let t = level; t > 0; t--) z[t - 1] = below(t, z[t]);
  };
  const forget = () => {  // the picture is no longer of the digit on the canvas
    encodeAgain = null;
    for (const button of find("digits").children) button.setAttribute("aria-pressed", "false");
  };
  const move = changes => {  // pairs of dimension and value
    for (const [dimension, value] of changes) z[level][dimension] = value;
    settle();
    forget();
    say("");
    show();
  };
  const drag = event => {
    const box = pad.getBoundingClientRect(), [across, up] = chosen();
    const place = share => clamp(EXTENT * (2 * share - 1));
    const x = place((event.clientX - box.left) / box.width);
    move([[across, x], [up, -place((event.clientY - box.top) / box.height)]]);
  };
  const press = event => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const ways = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, -1], ArrowUp: [1, 1] };
    const way = ways[event.key];
    if (!way && event.key !== "Home") return;
    event.preventDefault();
    if (!way) return move(chosen().map(dimension => [dimension, 0]));
    const dimension = chosen()[way[0]], step = way[1] * (event.shiftKey ? JUMP : ARROW);
    move([[dimension, clamp(z[level][dimension] + step)]]);
  };
  const encodePixels = (pixels, what, again) => {
    z = encode(pixels);
    settle();
    forget();
    encodeAgain = again;
    say(`${what}, encoded to the posterior mean of ${name()} and decoded.`);
    show();
  };
  const encodeDigit = i => {
    drawn.set(digits[i]);
    encodePixels(digits[i], `Test digit ${labels[i]}, ${i + 1} of ${labels.length}`, () => encodeDigit(i));
    find("digits").children[i].setAttribute("aria-pressed", "true");
  };
  const encodeDrawing = (isStroke = false) => {
    isHeld = isStroke;
    encodePixels(centred(drawn), "Your drawing", encodeDrawing);
  };
  const drawSample = () => {
    z = sample();
    forget();
    const then = top ? ", and the levels below it follow without noise" : "";
    say(`Ancestral sample ${++samples}, with noise at every level. Move the top${then}.`);
    show();
  };
  const reset = () => {
    z = zeros();
    move([]);
    say(`${name()} is at 0.`);
  };
  const clear = () => {
    drawn.fill(0);
    z = zeros();
    move([]);
    say(`The canvas is empty, and ${name()} is at 0.`);
  };
  const chooseLevel = t => {
    level = t;
    const named = i => `${i + 1} (${Math.max(0, kl[t][i]).toFixed(1)} nats)`;  // sampled, so noisy
    const most = [...kl[t].keys()].sort((a, b) => kl[t][b] - kl[t][a]);
    axes.forEach((axis, which) => {
      axis.replaceChildren(...kl[t].map((_, i) => new Option(named(i), i)));
      axis.value = most[Math.min(which, latent - 1)];
    });
    before = chosen();
    sliders.forEach(({ heading }, i) => { heading.textContent = named(i); });
    picture.setAttribute("aria-label", `Picture decoded from ${name()}`);
    (encodeAgain || show)();
  };

  // The controls.
  for (let t = top; t >= 0; t--) {
    const input = make("input", { type: "radio", name: "explorer-level", checked: t === level });
    const place = [t === top && "top", t === 0 && "bottom"].filter(Boolean).join(" and ");
    const label = make("label");
    label.append(input, ` z_${t + 1}${place && `, ${place}`}`);
    input.addEventListener("change", () => chooseLevel(t));
    find("levels").append(label);
  }
  for (let i = 0; i < latent; i++) {
    const label = make("label"), heading = make("span");
    const value = make("span", { className: "value", ariaHidden: "true" });  // the input says it
    const input = make("input", { type: "range", min: -EXTENT, max: EXTENT, step: 0.05 });
    input.addEventListener("input", () => move([[i, Number(input.value)]]));
    label.append(heading, value, input);
    find("sliders").append(label);
    sliders.push({ input, heading, value });
  }
  digits.forEach((pixels, i) => {
    const canvas = make("canvas", { width: side, height: side });
    const button = make("button", { type: "button" });
    draw(canvas, pixels);
    button.append(canvas);
    button.setAttribute("aria-label", `Test digit ${labels[i]}, ${i + 1} of ${labels.length}`);
    button.addEventListener("click", () => encodeDigit(i));
    find("digits").append(button);
  });
  pad.addEventListener("pointerdown", event => {
    if (!event.isPrimary || event.button) return;  // neither a second finger nor a menu
    pad.setPointerCapture(event.pointerId);
    drag(event);
  });
  pad.addEventListener("pointermove", event => {
    if (pad.hasPointerCapture(event.pointerId)) drag(event);
  });
  pad.addEventListener("keydown", press);
  axes.forEach((axis, which) => axis.addEventListener("change", () => {
    const [across, up] = chosen();
    if (across === up) axes[1 - which].value = before[which];  // they change places
    before = chosen();
    show();
  }));
  find("sample").addEventListener("click", drawSample);
  find("reset").addEventListener("click", reset);
  find("clear").addEventListener("click", clear);
  listenToStrokes(find("input"), drawn, encodeDrawing);

  for (const canvas of [picture, find("input")]) canvas.width = canvas.height = side;
  find("plane").width = find("plane").height = TILES * side;
  find("controls").hidden = false;
  chooseLevel(top);
  move([]);
})();
