using System;
using System.Runtime.InteropServices;

namespace Gen3d
{
    /// <summary>A mesh: right-handed, z up, in the cube [-0.5, 0.5]^3.</summary>
    public sealed class MeshArrays
    {
        /// <summary>x, y, z of each vertex, one after the other.</summary>
        public float[] Vertices { get; }

        /// <summary>Of length 1; as many as vertices.</summary>
        public float[] Normals { get; }

        /// <summary>Three vertices a face, counter-clockwise seen from outside.</summary>
        public int[] Faces { get; }

        internal MeshArrays(float[] vertices, float[] normals, int[] faces)
        {
            Vertices = vertices;
            Normals = normals;
            Faces = faces;
        }

        /// <summary>
        /// The same mesh left-handed with y up, as Unity has it: (x, y, z) becomes (x, z, y), and each face is turned round.
        /// </summary>
        public MeshArrays LeftHandedYUp()
        {
            var faces = (int[])Faces.Clone();
            for (int i = 0; i < faces.Length; i += 3)
            {
                faces[i + 1] = Faces[i + 2];
                faces[i + 2] = Faces[i + 1];
            }
            return new MeshArrays(Swapped(Vertices), Swapped(Normals), faces);
        }

        private static float[] Swapped(float[] rows)
        {
            var swapped = new float[rows.Length];
            for (int i = 0; i < rows.Length; i += 3)
            {
                swapped[i] = rows[i];
                swapped[i + 1] = rows[i + 2];
                swapped[i + 2] = rows[i + 1];
            }
            return swapped;
        }
    }

    /// <summary>What a bundle made.</summary>
    public sealed class Asset : IDisposable
    {
        private readonly AssetHandle handle;

        internal Asset(AssetHandle handle)
        {
            this.handle = handle;
        }

        /// <summary>A copy of the mesh, which outlives the asset.</summary>
        public MeshArrays Mesh()
        {
            Native.Check(Native.gen3d_mesh(handle, out var vertices, out var normals, out var count, out var faces, out var faceCount), IntPtr.Zero);
            int rows = checked((int)count.ToUInt64()), triangles = checked((int)faceCount.ToUInt64());
            var indices = new int[checked(3 * triangles)];
            if (triangles > 0) Marshal.Copy(faces, indices, 0, indices.Length);
            return new MeshArrays(Floats(vertices, rows), Floats(normals, rows), indices);
        }

        /// <summary>A copy of the voxels [resolution]^3 by x, y, z: 1 where occupied.</summary>
        public byte[] Voxels(out int resolution)
        {
            Native.Check(Native.gen3d_voxels(handle, out var occupied, out var side), IntPtr.Zero);
            resolution = checked((int)side.ToUInt64());
            var voxels = new byte[checked(resolution * resolution * resolution)];
            Marshal.Copy(occupied, voxels, 0, voxels.Length);
            return voxels;
        }

        /// <summary>Writes the mesh: .glb (y up) or .ply (z up). The file appears whole or not at all.</summary>
        public void Write(string path)
        {
            var code = Native.gen3d_write(handle, Native.Text(path, nameof(path)), out var message);
            Native.Check(code, message);
        }

        /// <summary>Frees the library's memory.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }

        private static float[] Floats(IntPtr from, int rows)
        {
            var floats = new float[checked(3 * rows)];
            if (rows > 0) Marshal.Copy(from, floats, 0, floats.Length);
            return floats;
        }
    }
}
