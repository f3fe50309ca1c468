// Draws a mesh with three.js: z up, lit, turned and zoomed by hand.

import * as THREE from '../vendor/three/build/three.module.js';
import { OrbitControls } from '../vendor/three/examples/jsm/controls/OrbitControls.js';

const AHEAD = new THREE.Vector3(0.75, -1, 0.55).normalize();
const FIELD_OF_VIEW = 32;

/** A viewer on a canvas: `show(mesh)` draws it. Throws where the browser has no WebGL. */
export function makeViewer(canvas) {
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
  const scene = new THREE.Scene();
  const camera = new THREE.PerspectiveCamera(FIELD_OF_VIEW, 1, 0.01, 50);
  camera.up.set(0, 0, 1);
  const controls = new OrbitControls(camera, canvas);
  scene.add(new THREE.HemisphereLight(0xffffff, 0x8d8578, 1.6), camera);
  const key = new THREE.DirectionalLight(0xffffff, 2.2);
  key.position.set(-0.6, 0.9, 0.6); // beside and above whoever looks
  camera.add(key, key.target);
  key.target.position.set(0, 0, -1);
  const material = new THREE.MeshStandardMaterial({ color: 0xd9c9b0, metalness: 0, roughness: 0.9 });
  const shown = new THREE.Mesh(new THREE.BufferGeometry(), material);
  scene.add(shown);

  let asked = false;
  const draw = () => {
    asked = false;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return;
    renderer.setPixelRatio(window.devicePixelRatio);
    renderer.setSize(width, height, false);
    camera.aspect = width / height;
    camera.updateProjectionMatrix();
    renderer.render(scene, camera);
  };
  const redraw = () => {
    if (!asked) requestAnimationFrame(draw);
    asked = true;
  };
  controls.addEventListener('change', redraw);
  new ResizeObserver(redraw).observe(canvas);

  return {
    show(mesh) {
      const geometry = new THREE.BufferGeometry();
      geometry.setAttribute('position', new THREE.BufferAttribute(mesh.vertices, 3));
      geometry.setAttribute('normal', new THREE.BufferAttribute(mesh.normals, 3));
      geometry.setIndex(new THREE.BufferAttribute(mesh.faces, 1));
      geometry.computeBoundingSphere();
      const first = shown.geometry.index === null;
      shown.geometry.dispose();
      shown.geometry = geometry;
      const { center, radius } = geometry.boundingSphere;
      if (first) {
        const narrow = Math.min(1, canvas.clientWidth / Math.max(1, canvas.clientHeight));
        camera.position.copy(center).addScaledVector(AHEAD, (1.1 * radius) / Math.sin((narrow * FIELD_OF_VIEW * Math.PI) / 360));
      }
      controls.target.copy(center);
      controls.update();
      draw();
    },
  };
}
